"""The threads that ask REST: they hold nothing that could be lost, so a call that hangs does not hold up the end."""

import threading
import time
from collections.abc import Callable, Sequence

from common.lifecycle import Running, Worker

_WAITED_FOR_S = 1.0  # all of them together


class RestJobs:
    """Starts and stops them together."""

    name = "askers"

    def __init__(self, workers: Sequence[Worker], start: Callable[[Worker], Running]) -> None:
        self._workers = workers
        self._start = start

    def run(self, stop: threading.Event) -> None:
        running = [self._start(worker) for worker in self._workers]
        stop.wait()
        for each in running:
            each.stop()
        ends_at = time.monotonic() + _WAITED_FOR_S
        for each in running:
            each.ended(within_s=ends_at - time.monotonic())
