"""When threads start and stop."""

import os
import signal
import threading
from queue import SimpleQueue

import pytest
from prometheus_client import REGISTRY

from common.errors import ConfigError
from common.lifecycle import Crew, Running
from tests.kit.waiting import eventually


class Recorder:
    """Writes down when it starts and when it has stopped."""

    def __init__(self, name: str, diary: list[str], started: threading.Event | None = None) -> None:
        self.name = name
        self._diary = diary
        self._started = started

    def run(self, stop: threading.Event) -> None:
        self._diary.append(f"{self.name} started")
        if self._started is not None:
            self._started.set()
        stop.wait()
        self._diary.append(f"{self.name} stopped")


class Leaving:
    name = "leaving"

    def run(self, stop: threading.Event) -> None:
        raise SystemExit


class Failing:
    """Fails a few times, and works from then on."""

    def __init__(self, name: str, failures: int) -> None:
        self.name = name
        self.failures = failures
        self.works = threading.Event()

    def run(self, stop: threading.Event) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not foreseen")
        self.works.set()
        stop.wait()


class FailingLate:
    """Fails when it is told to stop, and then finishes what it has to."""

    name = "failing late"

    def __init__(self) -> None:
        self.runs = 0

    def run(self, stop: threading.Event) -> None:
        self.runs += 1
        stop.wait()
        if self.runs == 1:
            raise RuntimeError("not foreseen")


class Misconfigured:
    name = "misconfigured"

    def run(self, stop: threading.Event) -> None:
        raise ConfigError("A='b': allowed is c")


def test_a_signal_stops_the_workers_in_reverse():
    diary: list[str] = []
    started = threading.Event()
    workers = [Recorder("downstream", diary), Recorder("upstream", diary, started)]

    def interrupt() -> None:
        started.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt).start()
    assert Crew().run_until_stopped(workers, grace_s=5.0) == 0
    assert diary[-2:] == ["upstream stopped", "downstream stopped"]


def test_a_wrong_setting_that_a_worker_finds_is_the_processs_end():
    diary: list[str] = []
    with pytest.raises(ConfigError, match="A='b'"):
        Crew().run_until_stopped([Recorder("other", diary), Misconfigured()], grace_s=5.0)
    assert diary[-1] == "other stopped"


def test_a_worker_that_leaves_takes_the_process_along():
    diary: list[str] = []
    assert Crew().run_until_stopped([Recorder("other", diary), Leaving()], grace_s=5.0) == 1
    assert diary[-1] == "other stopped"


def test_a_worker_that_fails_starts_again_and_the_others_go_on():
    diary: list[str] = []
    crew, failing = Crew(), Failing("failing", failures=3)
    other, restarted = crew.start(Recorder("other", diary)), crew.start(failing)
    assert failing.works.wait(20)
    assert diary == ["other started"]
    assert REGISTRY.get_sample_value("wsgw_worker_failures_total", {"worker": "failing"}) == 3
    for running in (other, restarted):
        running.stop()
        assert running.ended(within_s=5.0)


def test_a_failure_after_it_worked_for_a_while_is_a_first_one_again():
    failing = Failing("failing now and then", failures=30)
    running = Running(failing, SimpleQueue(), well_after_s=0.0)
    running.start()
    assert failing.works.wait(10), "no pause grew"
    running.stop()
    assert running.ended(within_s=5.0)


def test_a_pause_before_the_next_start_ends_when_it_is_to_stop():
    failing = Failing("always failing", failures=10**9)
    running = Crew().start(failing)
    eventually(lambda: failing.failures <= 10**9 - 4, 20, "it failed several times")
    running.stop()
    assert running.ended(within_s=5.0)


def test_a_worker_that_fails_while_it_stops_is_called_once_more_to_finish():
    worker = FailingLate()
    running = Crew().start(worker)
    eventually(lambda: worker.runs == 1, 5, "it runs")
    running.stop()
    assert running.ended(within_s=5.0)
    assert worker.runs == 2


def test_a_worker_may_be_started_and_stopped_on_its_own():
    diary: list[str] = []
    running = Crew().start(Recorder("guest", diary))
    running.stop()
    assert running.ended(within_s=5.0)
    assert diary == ["guest started", "guest stopped"]
