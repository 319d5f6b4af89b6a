"""When the threads of a process start, and when they stop.

rest = WorkerGroup("rest", [snapshots, key_check], grace_s=1.0)
sys.exit(run_until_stopped([publisher, connections, rest, reconciler], grace_s=15.0))
"""

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol, TypeAlias

import structlog
from prometheus_client import Counter

from common.backoff import Backoff
from common.errors import ConfigError
from common.metrics import PREFIX

log = structlog.get_logger(__name__)

WORKER_FAILURES = Counter(f"{PREFIX}_worker_failures", "Workers that failed and were started again", ["worker"])
_SIGNAL_NOTICED_WITHIN_S = 0.5
_STABLE_AFTER_S = 60.0  # without a failure: the next failure counts as the first again


class Worker(Protocol):
    """One thread: `run` returns soon after `stop` is set.

    When `run` raises, it is called again after a pause, so it must be able to start again. Only a ConfigError ends
    the process, because a person must act. A failure during the stop gets one more call, to finish what must not
    be lost.
    """

    @property
    def name(self) -> str: ...

    def run(self, stop: threading.Event) -> None: ...


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a process stops: a signal, or a worker that cannot be started again."""

    text: str
    worker: str | None = None
    error: BaseException | None = None


Stops: TypeAlias = SimpleQueue[StopReason]
"""Where the main thread waits for the first reason to stop."""


class WorkerThread:
    """One worker in a thread of its own; `wake` ends a wait that does not watch the stop event."""

    def __init__(
        self, worker: Worker, wake: Callable[[], None] | None = None, stable_after_s: float = _STABLE_AFTER_S
    ) -> None:
        self.name = worker.name
        self._worker = worker
        self._wake = wake
        self._stable_after_s = stable_after_s
        self._stop = threading.Event()

    def start(self, stops: Stops) -> None:
        self._thread = threading.Thread(target=self._run, args=(stops,), name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._wake is not None:
            self._wake()

    def ended(self, within_s: float) -> bool:
        """Wait that long for the thread to end; False when it still runs."""
        self._thread.join(max(0.0, within_s))
        return not self._thread.is_alive()

    def _run(self, stops: Stops) -> None:
        try:
            self._run_until_done()
        except ConfigError as error:
            stops.put(StopReason("wrong setting", self.name, error))  # the process ends with its one line
        except BaseException as error:
            log.critical("worker died", worker=self.name, exc_info=True)
            stops.put(StopReason("worker died", self.name, error))

    def _run_until_done(self) -> None:
        backoff = Backoff()
        while not self._done(backoff):
            self._stop.wait(backoff.next_s())

    def _done(self, backoff: Backoff) -> bool:
        """Run the worker once; False when it must be started again."""
        is_last = self._stop.is_set()
        started_at = time.monotonic()
        try:
            self._worker.run(self._stop)
        except ConfigError:
            raise
        except Exception:
            WORKER_FAILURES.labels(self.name).inc()
            log.error("worker failed", worker=self.name, again=not is_last, exc_info=True)
            if time.monotonic() - started_at >= self._stable_after_s:
                backoff.reset()
            return is_last
        return True


class WorkerGroup:
    """Workers that start and stop together, and may be joined by others while the process runs.

    A member that has not ended after `grace_s` is abandoned and does not count as lost work: use a group for workers
    whose calls may hang and who hold nothing that could be lost, or whose number is known only at run time.
    """

    def __init__(self, name: str, workers: Iterable[Worker] = (), *, grace_s: float) -> None:
        self.name = name
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._members = [WorkerThread(worker) for worker in workers]
        self._stops: Stops | None = None
        self._stopping = False
        self._ends_at = 0.0

    def add(self, worker: Worker, wake: Callable[[], None] | None = None) -> WorkerThread:
        """Start the worker with the group, or at once when the group runs; after `stop`, it starts stopped."""
        member = WorkerThread(worker, wake)
        with self._lock:
            self._members.append(member)
            if self._stopping:
                member.stop()
            if self._stops is not None:
                member.start(self._stops)
        return member

    def start(self, stops: Stops) -> None:
        with self._lock:
            self._stops = stops
            for member in self._members:
                member.start(stops)

    def stop(self) -> None:
        """Stop all members at once: none waits for another one."""
        with self._lock:
            self._stopping = True
            self._ends_at = time.monotonic() + self._grace_s
            members = list(self._members)
        for member in members:
            member.stop()

    def ended(self, within_s: float) -> bool:
        """Wait for the members, within the shorter of this time and the group's grace; always True."""
        ends_at = min(self._ends_at, time.monotonic() + within_s)
        with self._lock:
            members = list(self._members)
        hung = [member.name for member in members if not member.ended(ends_at - time.monotonic())]
        if hung:
            log.warning("workers abandoned", group=self.name, workers=hung)
        return True


def start(worker: Worker | WorkerGroup, stops: Stops | None = None) -> WorkerThread | WorkerGroup:
    """Run a worker or a group outside `run_until_stopped`; its reasons to stop go to `stops`."""
    started = worker if isinstance(worker, WorkerGroup) else WorkerThread(worker)
    started.start(SimpleQueue() if stops is None else stops)
    return started


def run_until_stopped(workers: Iterable[Worker | WorkerGroup], grace_s: float) -> int:
    """Start the workers downstream first, wait for a reason to stop, and stop them in reverse order.

    Returns the exit status: 0 after SIGTERM or SIGINT, 1 after a worker died. Raises the ConfigError of a worker.
    When a worker has not ended within `grace_s`, which all share, the process ends at once with status 1.
    """
    stops: Stops = SimpleQueue()
    faulthandler.register(signal.SIGUSR1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stops.put(StopReason(signal.Signals(number).name)))
    running = [start(worker, stops) for worker in workers]
    reason = _first(stops)
    log.info("stopping", reason=reason.text, worker=reason.worker)
    if not _stopped_in_time(reversed(running), grace_s):
        log.critical("shutdown incomplete", grace_s=grace_s)
        os._exit(1)
    log.info("stopped")
    if isinstance(reason.error, ConfigError):
        raise reason.error
    return 0 if reason.error is None else 1


def _first(stops: Stops) -> StopReason:
    """The first reason to stop.

    A signal that arrives just before the wait begins does not interrupt it, and its handler runs only when the wait
    is over: hence no wait without an end.
    """
    while True:
        with suppress(Empty):
            return stops.get(timeout=_SIGNAL_NOTICED_WITHIN_S)


def _stopped_in_time(running: Iterable[WorkerThread | WorkerGroup], grace_s: float) -> bool:
    ends_at = time.monotonic() + grace_s
    outcomes = []
    for each in running:
        each.stop()
        outcomes.append(each.ended(within_s=ends_at - time.monotonic()))
    return all(outcomes)
