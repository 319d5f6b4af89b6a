"""The threads of REST jobs. They hold nothing that could be lost, so a stop does not wait for a call that hangs."""

import threading
import time
from collections.abc import Callable, Sequence

from common.lifecycle import Running, Worker

_STOPPED_WITHIN_S = 1.0  # all of them together


class RestJobs:
    """Starts and stops them together."""

    name = "rest jobs"

    def __init__(self, workers: Sequence[Worker], start: Callable[[Worker], Running]) -> None:
        self._workers = workers
        self._start = start

    def run(self, stop: threading.Event) -> None:
        running = [self._start(worker) for worker in self._workers]
        stop.wait()
        for each in running:
            each.stop()
        ends_at = time.monotonic() + _STOPPED_WITHIN_S
        for each in running:
            each.ended(within_s=ends_at - time.monotonic())
