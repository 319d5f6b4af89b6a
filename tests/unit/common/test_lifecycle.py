"""When threads start and stop."""

import os
import signal
import threading

import pytest

from common.errors import ConfigError
from common.lifecycle import Crew


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


class Dying:
    name = "dying"

    def run(self, stop: threading.Event) -> None:
        raise RuntimeError("our mistake")


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


def test_a_worker_that_dies_takes_the_process_along():
    diary: list[str] = []
    assert Crew().run_until_stopped([Recorder("other", diary), Dying()], grace_s=5.0) == 1
    assert diary[-1] == "other stopped"


def test_a_wrong_setting_that_a_worker_finds_is_the_processs_end():
    diary: list[str] = []
    with pytest.raises(ConfigError, match="A='b'"):
        Crew().run_until_stopped([Recorder("other", diary), Misconfigured()], grace_s=5.0)
    assert diary[-1] == "other stopped"


def test_a_worker_may_be_started_and_stopped_on_its_own():
    diary: list[str] = []
    running = Crew().start(Recorder("guest", diary))
    running.stop()
    assert running.ended(within_s=5.0)
    assert diary == ["guest started", "guest stopped"]
