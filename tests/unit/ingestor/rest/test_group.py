"""Threads that a stop does not wait for."""

import threading
from queue import SimpleQueue

from common.lifecycle import Running, Worker
from ingestor.rest.jobs.group import RestJobs
from tests.kit.waiting import eventually


class Hanging:
    """In a call that does not end before it is released."""

    name = "hanging"

    def __init__(self) -> None:
        self.released = threading.Event()
        self.stopped: threading.Event | None = None

    def run(self, stop: threading.Event) -> None:
        self.stopped = stop
        self.released.wait()


def start(worker: Worker) -> Running:
    running = Running(worker, SimpleQueue())
    running.start()
    return running


def test_a_call_that_hangs_does_not_hold_up_the_stop():
    hanging = Hanging()
    jobs = start(RestJobs([hanging], start))
    eventually(lambda: hanging.stopped is not None, 5, "it began")
    jobs.stop()
    assert jobs.ended(within_s=5)
    assert hanging.stopped is not None
    assert hanging.stopped.is_set()
    hanging.released.set()
