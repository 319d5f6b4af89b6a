"""Publishes what REST says of the private topics when the socket cannot know it."""

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from common.channels import Channel
from common.errors import Unavailable
from common.events import Event
from common.retrying import Backoff
from ingestor.feed.event_stream import EventStream
from ingestor.rest.client import RestSnapshot
from ingestor.rest.clock import ExchangeClock

log = structlog.get_logger(__name__)

WALLET_EVERY_S = 300.0
_TRIES = 5
_CLOCK_EVERY_S = 30.0
_LISTEN_S = 0.5


class SnapshotSource(Protocol):
    def wallet(self) -> RestSnapshot: ...
    def open_orders(self) -> list[RestSnapshot]: ...
    def positions(self) -> list[RestSnapshot]: ...
    def clock(self) -> tuple[int, float]: ...


class SnapshotJob:
    """One thread for calls that may take seconds: the state of a topic after each subscribe, the clock now and then.

    The wallet is repeated, so that whoever keeps balances can compare.
    """

    name = "snapshots"

    def __init__(
        self,
        source: SnapshotSource,
        clock: ExchangeClock,
        tell: Callable[[Channel, Callable[[EventStream], Event]], bool],
        wallet_every_s: float = WALLET_EVERY_S,
    ) -> None:
        self._source = source
        self._clock = clock
        self._tell = tell
        self._wallet_every_s = wallet_every_s
        self._asked: SimpleQueue[Channel] = SimpleQueue()
        self._clock_due_at = 0.0
        self._wallet: Channel | None = None
        self._wallet_due_at = float("inf")
        self._read: dict[str, Callable[[], Sequence[RestSnapshot]]] = {
            "balance": lambda: [source.wallet()],
            "order": source.open_orders,
            "position": source.positions,
        }

    def ask(self, channel: Channel) -> None:
        """The state of this topic, if REST tells it."""
        if channel.channel_type in self._read:
            self._asked.put(channel)

    def ask_clock(self) -> None:
        """Soon, because somebody doubts it."""
        self._clock_due_at = 0.0

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            now = time.monotonic()
            if now >= self._clock_due_at:
                self._clock_due_at = now + _CLOCK_EVERY_S
                self._told_clock()
            channel = self._wallet if now >= self._wallet_due_at else self._next()
            if channel is None:
                continue
            if channel.channel_type == "balance":
                self._wallet, self._wallet_due_at = channel, time.monotonic() + self._wallet_every_s
            self._publish(channel, stop)

    def _next(self) -> Channel | None:
        try:
            return self._asked.get(timeout=_LISTEN_S)
        except Empty:
            return None

    def _publish(self, channel: Channel, stop: threading.Event) -> None:
        backoff, last_error = Backoff(0.5, 5.0), ""
        for _ in range(_TRIES):
            try:
                found = self._read[channel.channel_type]()
            except Unavailable as error:
                last_error = str(error)
                self._told_clock()  # it may be why we were refused
                if stop.wait(backoff.next_s()):
                    return
                continue
            for snapshot in found:
                self._tell(channel, snapshot_event(snapshot))
            log.info("snapshot published", topic=channel.topic, events=len(found))
            return
        log.error("no snapshot; what is known may be behind until the next push", topic=channel.topic, error=last_error)

    def _told_clock(self) -> None:
        try:
            self._clock.observe(*self._source.clock())
        except Unavailable as error:
            log.info("the exchange's clock could not be asked", error=str(error))


def snapshot_event(snapshot: RestSnapshot) -> Callable[[EventStream], Event]:
    """How the topic's own stream makes an event of it."""
    received_ns = time.time_ns()
    return lambda line: line.snapshot(snapshot.result, snapshot.version_ms, received_ns)
