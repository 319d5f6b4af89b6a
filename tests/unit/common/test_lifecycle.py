"""When threads start and stop."""

import os
import signal
import subprocess
import sys
import threading
import time
from queue import SimpleQueue

import pytest
from prometheus_client import REGISTRY

from common.errors import ConfigError
from common.lifecycle import Stops, Worker, WorkerGroup, WorkerThread, run_until_stopped, start
from tests.kit.waiting import eventually

HANGS = """
import threading
from common.lifecycle import run_until_stopped

class Hanging:
    name = "hanging"
    def run(self, stop):
        print("started", flush=True)
        threading.Event().wait()

run_until_stopped([Hanging()], grace_s=0.2)
"""


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
    """Fails while it stops, and then finishes what it has to."""

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
        raise ConfigError("A='b': must be c")


class Hanging:
    """In a call that does not end before it is released."""

    def __init__(self, name: str = "hanging") -> None:
        self.name = name
        self.released = threading.Event()
        self.stop: threading.Event | None = None

    def run(self, stop: threading.Event) -> None:
        self.stop = stop
        self.released.wait()


def interrupt_after(started: threading.Event) -> None:
    def interrupt() -> None:
        started.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt).start()


def test_a_signal_stops_the_workers_in_reverse():
    diary: list[str] = []
    started = threading.Event()
    interrupt_after(started)
    workers = [Recorder("downstream", diary), Recorder("upstream", diary, started)]
    assert run_until_stopped(workers, grace_s=5.0) == 0
    assert diary[-2:] == ["upstream stopped", "downstream stopped"]


def test_a_wrong_setting_that_a_worker_finds_ends_the_process():
    diary: list[str] = []
    with pytest.raises(ConfigError, match="A='b'"):
        run_until_stopped([Recorder("other", diary), Misconfigured()], grace_s=5.0)
    assert diary[-1] == "other stopped"


def test_a_worker_that_leaves_ends_the_process():
    diary: list[str] = []
    assert run_until_stopped([Recorder("other", diary), Leaving()], grace_s=5.0) == 1
    assert diary[-1] == "other stopped"


def test_a_worker_that_hangs_ends_the_process_with_status_1_after_the_grace():
    process = subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.terminate()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "shutdown incomplete" in out


def test_a_worker_that_fails_starts_again_and_the_others_go_on():
    diary: list[str] = []
    failing = Failing("failing", failures=3)
    other, restarted = start(Recorder("other", diary)), start(failing)
    assert failing.works.wait(20)
    assert diary == ["other started"]
    assert REGISTRY.get_sample_value("wsgw_worker_failures_total", {"worker": "failing"}) == 3
    for running in (other, restarted):
        running.stop()
        assert running.ended(within_s=5.0)


def test_a_failure_after_it_worked_for_a_while_is_a_first_one_again():
    failing = Failing("failing now and then", failures=12)
    running = WorkerThread(failing, stable_after_s=0.0)
    running.start(SimpleQueue())
    assert failing.works.wait(60), "no pause grew"
    running.stop()
    assert running.ended(within_s=5.0)


def test_a_pause_before_the_next_start_ends_at_the_stop():
    failing = Failing("always failing", failures=10**9)
    running = start(failing)
    eventually(lambda: failing.failures <= 10**9 - 4, 20, "it failed several times")
    running.stop()
    assert running.ended(within_s=5.0)


def test_a_worker_that_fails_while_it_stops_is_called_once_more_to_finish():
    worker = FailingLate()
    running = start(worker)
    eventually(lambda: worker.runs == 1, 5, "it runs")
    running.stop()
    assert running.ended(within_s=5.0)
    assert worker.runs == 2


def test_a_worker_may_be_started_and_stopped_on_its_own():
    diary: list[str] = []
    running = start(Recorder("guest", diary))
    running.stop()
    assert running.ended(within_s=5.0)
    assert diary == ["guest started", "guest stopped"]


def test_a_group_starts_and_stops_in_its_place():
    diary: list[str] = []
    started = threading.Event()
    interrupt_after(started)
    group = WorkerGroup("group", [Recorder("member", diary)], grace_s=5.0)
    workers: list[Worker | WorkerGroup] = [Recorder("downstream", diary), group, Recorder("upstream", diary, started)]
    assert run_until_stopped(workers, grace_s=5.0) == 0
    assert diary.index("downstream started") < diary.index("member started")
    assert diary[-3:] == ["upstream stopped", "member stopped", "downstream stopped"]


def test_members_that_hang_are_stopped_at_once_and_abandoned_after_the_grace_of_their_group():
    first, second, started = Hanging("first"), Hanging("second"), threading.Event()
    interrupt_after(started)
    group = WorkerGroup("group", [first, second], grace_s=0.2)
    begun_at = time.monotonic()
    assert run_until_stopped([group, Recorder("upstream", [], started)], grace_s=30.0) == 0
    assert time.monotonic() - begun_at < 15.0, "the grace of the process"
    for member in (first, second):
        assert member.stop is not None
        assert member.stop.is_set()
        member.released.set()


def test_the_grace_of_a_group_is_not_longer_than_what_the_process_has_left():
    hanging = Hanging()
    group = start(WorkerGroup("group", [hanging], grace_s=60.0))
    group.stop()
    begun_at = time.monotonic()
    assert group.ended(within_s=0.1)
    assert time.monotonic() - begun_at < 30.0
    hanging.released.set()


def test_a_member_that_is_added_early_starts_with_its_group():
    diary: list[str] = []
    group = WorkerGroup("group", grace_s=5.0)
    group.add(Recorder("early", diary))
    assert diary == []
    start(group)
    group.stop()
    assert group.ended(within_s=5.0)
    assert diary == ["early started", "early stopped"]


def test_a_member_that_is_added_later_starts_at_once_and_stops_with_its_group():
    diary: list[str] = []
    group = WorkerGroup("group", grace_s=5.0)
    start(group)
    group.add(Recorder("late", diary))
    eventually(lambda: diary == ["late started"], 5, "it runs")
    group.stop()
    assert group.ended(within_s=5.0)
    assert diary == ["late started", "late stopped"]


def test_a_member_that_is_added_after_the_stop_ends_at_once():
    diary: list[str] = []
    group = WorkerGroup("group", grace_s=5.0)
    start(group)
    group.stop()
    assert group.add(Recorder("too late", diary)).ended(within_s=5.0)
    assert diary == ["too late started", "too late stopped"]


def test_a_member_that_does_not_watch_the_stop_event_is_woken():
    hanging = Hanging()
    group = WorkerGroup("group", grace_s=5.0)
    member = group.add(hanging, wake=hanging.released.set)
    start(group)
    group.stop()
    assert member.ended(within_s=5.0)


def test_a_member_that_cannot_go_on_ends_the_process():
    diary: list[str] = []
    stops: Stops = SimpleQueue()
    start(WorkerGroup("group", [Misconfigured()], grace_s=1.0), stops)
    assert stops.get(timeout=5.0).worker == "misconfigured"
    group = WorkerGroup("group", [Leaving()], grace_s=1.0)
    assert run_until_stopped([Recorder("other", diary), group], grace_s=5.0) == 1
    assert diary[-1] == "other stopped"
