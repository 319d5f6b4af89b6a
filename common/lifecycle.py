"""When the threads of a process start, and when they stop."""

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog
from prometheus_client import Counter

from common.backoff import Backoff
from common.errors import ConfigError
from common.metrics import PREFIX

log = structlog.get_logger(__name__)

WORKER_FAILURES = Counter(f"{PREFIX}_worker_failures", "Workers that failed and were started again", ["worker"])
_SIGNAL_SEEN_WITHIN_S = 0.5
_WELL_AFTER_S = 60.0  # without a failure: the next one is a new one


class Worker(Protocol):
    """One thread: `run` returns soon after `stop` is set.

    When `run` raises, it is called again after a pause, so it must be able to begin anew. Only a ConfigError ends
    the process, because a person must act. A failure during the stop gets one more call, to finish what must not
    be lost.
    """

    @property
    def name(self) -> str: ...

    def run(self, stop: threading.Event) -> None: ...


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that ended by an exception."""

    worker: str
    error: BaseException


class Crew:
    """The threads of a process: some run for all its life, some come and go."""

    def __init__(self) -> None:
        self._ends: SimpleQueue[Death | None] = SimpleQueue()  # a worker that died, or None to stop in order

    def start(self, worker: Worker) -> "Running":
        running = Running(worker, self._ends)
        running.start()
        return running

    def stop(self) -> None:
        self._ends.put(None)

    def run_until_stopped(self, workers: Iterable[Worker], grace_s: float) -> int:
        """Start downstream first, wait for a signal or a death, stop in reverse; the answer is the exit status.

        Raises the ConfigError that a worker died of.
        """
        faulthandler.register(signal.SIGUSR1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ends.put(None))
        running = [self.start(worker) for worker in workers]
        died = self._ending()
        log.info("stopping", because="a worker died" if died else "a signal", worker=died and died.worker)
        in_time = _stopped_in_time(reversed(running), grace_s)
        if not in_time:
            log.critical("leaving with work undone", grace_s=grace_s)
            os._exit(1)
        log.info("stopped")
        if died and isinstance(died.error, ConfigError):
            raise died.error
        return 1 if died else 0

    def _ending(self) -> "Death | None":
        """Who died, or None for a signal.

        A signal that comes in just before the wait begins does not interrupt it, and its handler runs only when the
        wait is over: hence no wait without an end.
        """
        while True:
            with suppress(Empty):
                return self._ends.get(timeout=_SIGNAL_SEEN_WITHIN_S)


class Running:
    """One worker in its thread."""

    def __init__(self, worker: Worker, ends: "SimpleQueue[Death | None]", well_after_s: float = _WELL_AFTER_S) -> None:
        self._worker = worker
        self._ends = ends
        self._well_after_s = well_after_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=worker.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def ended(self, within_s: float) -> bool:
        self._thread.join(max(0.0, within_s))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._run_until_done()
        except ConfigError as error:
            self._ends.put(Death(self._worker.name, error))  # the process ends with its one line
        except BaseException as error:
            log.critical("worker died", worker=self._worker.name, exc_info=True)
            self._ends.put(Death(self._worker.name, error))

    def _run_until_done(self) -> None:
        backoff = Backoff()
        while not self._done(backoff):
            self._stop.wait(backoff.next_s())

    def _done(self, backoff: Backoff) -> bool:
        """Run the worker once; False when it is to be started again."""
        last = self._stop.is_set()
        began_at = time.monotonic()
        try:
            self._worker.run(self._stop)
        except ConfigError:
            raise
        except Exception:
            WORKER_FAILURES.labels(self._worker.name).inc()
            log.error("worker failed", worker=self._worker.name, again=not last, exc_info=True)
            if time.monotonic() - began_at >= self._well_after_s:
                backoff.reset()
            return last
        return True


def _stopped_in_time(running: Iterable[Running], grace_s: float) -> bool:
    ends_at = time.monotonic() + grace_s
    outcomes = []
    for each in running:
        each.stop()
        outcomes.append(each.ended(within_s=ends_at - time.monotonic()))
    return all(outcomes)
