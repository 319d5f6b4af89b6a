"""Runs a REST job in its thread: when it is due, when it is requested, and again after a failure."""

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from common.backoff import Backoff
from common.errors import Unavailable
from ingestor.rest.http import retry_after_s

log = structlog.get_logger(__name__)

_STOP_NOTICED_WITHIN_S = 0.5

Request = TypeVar("Request")


class RequestQueue(Generic[Request]):
    """Requests from other threads, bounded; one that equals a waiting request is covered by that."""

    def __init__(self, max_requests: int = 100) -> None:
        self._max_requests = max_requests
        self._waiting: deque[Request] = deque()
        self._changed = threading.Condition()

    def put(self, request: Request) -> bool:
        """Never waits; False if the queue is full and the request is not in it."""
        with self._changed:
            if request in self._waiting:
                return True
            if len(self._waiting) >= self._max_requests:
                return False
            self._waiting.append(request)
            self._changed.notify()
            return True

    def get(self, wait_s: float) -> Request | None:
        """The oldest request; None if there is none within `wait_s`, so None is not a valid request."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, max(0.0, wait_s))
            return self._waiting.popleft() if self._waiting else None


class Job(ABC, Generic[Request]):
    """What one thread does over REST. All times are monotonic, in s."""

    name: str
    due_at: float = 0.0  # of the next `run_due`
    min_retry_s: float = 0.0

    def __init__(self, max_requests: int = 100, backoff: Backoff | None = None) -> None:
        self.requests: RequestQueue[Request] = RequestQueue(max_requests)
        self.backoff = backoff or Backoff()

    @abstractmethod
    def run_due(self, now: float) -> None:
        """Do what is due and set `due_at`. Unavailable means: again after a backoff."""

    def handle(self, _request: Request, now: float) -> None:
        """By default a request makes the job due."""
        self.due_at = now


class JobWorker(Generic[Request]):
    """The thread of one job. A job that hangs in a call holds up no other one."""

    def __init__(self, job: Job[Request], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._monotonic = monotonic
        self._retry_at = 0.0
        self._failing = False

    @property
    def name(self) -> str:
        return self._job.name

    def run(self, stop: threading.Event) -> None:
        self._retry_at = 0.0  # a worker that is started again owes nothing to a backoff
        self._job.backoff.reset()
        while not stop.is_set():
            wait_s = min(self.due_at - self._monotonic(), _STOP_NOTICED_WITHIN_S)
            self.step(self._job.requests.get(wait_s))

    @property
    def due_at(self) -> float:
        return max(self._job.due_at, self._retry_at)

    def step(self, request: Request | None) -> None:
        """Handle the request, which ends a backoff, and run the job if it is due."""
        if request is not None:
            self._retry_at = 0.0
            self._job.handle(request, self._monotonic())
        now = self._monotonic()
        if now >= self.due_at:
            self._run_due(now)

    def _run_due(self, now: float) -> None:
        try:
            self._job.run_due(now)
        except Unavailable as error:
            self._failed(error)
            return
        if self._failing:
            log.info("rest job recovered", job=self.name)
        self._failing = False
        self._job.backoff.reset()

    def _failed(self, error: Unavailable) -> None:
        wait_s = max(self._job.backoff.next_s() + self._job.min_retry_s, retry_after_s(error))
        self._retry_at = self._monotonic() + wait_s
        if not self._failing:
            log.warning("rest job failed", job=self.name, error=str(error), retry_in_s=round(wait_s, 3))
        self._failing = True
