"""Threads that nobody waits for."""

import threading
from queue import SimpleQueue

from common.lifecycle import Running, Worker
from ingestor.rest.jobs.group import RestJobs
from tests.kit.waiting import eventually


class Hanging:
    """In a call that does not end before it is let go."""

    name = "hanging"

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.stopped: threading.Event | None = None

    def run(self, stop: threading.Event) -> None:
        self.stopped = stop
        self.let_go.wait()


def start(worker: Worker) -> Running:
    running = Running(worker, SimpleQueue())
    running.start()
    return running


def test_a_call_that_hangs_does_not_hold_up_the_end():
    hanging = Hanging()
    askers = start(RestJobs([hanging], start))
    eventually(lambda: hanging.stopped is not None, 5, "it began")
    askers.stop()
    assert askers.ended(within_s=5)
    assert hanging.stopped is not None
    assert hanging.stopped.is_set()
    hanging.let_go.set()
