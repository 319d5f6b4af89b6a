"""Publishes what REST says of the private topics when the socket cannot know it."""

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from common.envelope import Event
from common.errors import Unavailable
from common.retrying import Backoff
from ingestor.delivery.line import Line
from ingestor.exchange.clock import ExchangeClock
from ingestor.exchange.rest import Snapshot

log = structlog.get_logger(__name__)

_TRIES = 5
_CLOCK_EVERY_S = 300.0


class Source(Protocol):
    def wallet(self) -> Snapshot: ...
    def clock(self) -> tuple[int, float]: ...


class Snapshots:
    """One thread for calls that may take seconds: the wallet after each subscribe, the clock now and then."""

    name = "snapshots"

    def __init__(
        self, source: Source, clock: ExchangeClock, line: Line, put: Callable[[Sequence[Event], bool], bool]
    ) -> None:
        self._source = source
        self._clock = clock
        self._line = line
        self._put = put
        self._asked: SimpleQueue[str] = SimpleQueue()

    def ask_wallet(self, because: str) -> None:
        self._asked.put(because)

    def run(self, stop: threading.Event) -> None:
        clock_due_at = 0.0
        while not stop.is_set():
            if time.monotonic() >= clock_due_at:
                self._ask_clock()
                clock_due_at = time.monotonic() + _CLOCK_EVERY_S
            try:
                because = self._asked.get(timeout=0.5)
            except Empty:
                continue
            self._wallet(because, stop)

    def _wallet(self, because: str, stop: threading.Event) -> None:
        backoff, last_error = Backoff(0.5, 5.0), ""
        for _ in range(_TRIES):
            try:
                snapshot = self._source.wallet()
            except Unavailable as error:
                last_error = str(error)
                if stop.wait(backoff.next_s()):
                    return
                continue
            event = self._line.snapshot(snapshot.result, snapshot.version_ms, time.time_ns())
            while not self._put([event], True) and not stop.wait(0.5):
                pass
            log.info("wallet snapshot published", because=because, id=event.id)
            return
        log.error("no wallet snapshot; balances may be behind until the next message", error=last_error)

    def _ask_clock(self) -> None:
        try:
            self._clock.told(*self._source.clock())
        except Unavailable as error:
            log.info("the exchange's clock could not be asked", error=str(error))
