"""Runs a worker in a thread, as a process does."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.lifecycle import Worker, start

_ENDS_WITHIN_S = 10.0


@contextmanager
def at_work(worker: Worker) -> Iterator[None]:
    """Run the worker, and check that it has ended afterwards."""
    running = start(worker)
    try:
        yield
    finally:
        running.stop()
        assert running.ended(within_s=_ENDS_WITHIN_S)
