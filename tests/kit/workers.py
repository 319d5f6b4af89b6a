"""A worker in its thread, as a process runs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.lifecycle import Crew, Worker

_ENDS_WITHIN_S = 10.0


@contextmanager
def at_work(worker: Worker) -> Iterator[None]:
    """It runs, and has ended afterwards."""
    running = Crew().start(worker)
    try:
        yield
    finally:
        running.stop()
        assert running.ended(within_s=_ENDS_WITHIN_S)
