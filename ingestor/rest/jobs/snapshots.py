"""Publishes the state of the private topics as REST has it, because the WebSocket sends only changes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import structlog

from common.backoff import Backoff
from common.channels import Channel
from common.errors import Unavailable
from common.events import Event
from ingestor.bybit.heartbeat import NEVER
from ingestor.feed.event_stream import EventStream
from ingestor.rest.client import RestSnapshot
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.http import retry_after_s
from ingestor.rest.jobs.scheduler import Job

log = structlog.get_logger(__name__)

WALLET_EVERY_S = 300.0
_TRIES = 5
_CLOCK_EVERY_S = 30.0
_TYPES = ("balance", "order", "position")

SnapshotRequest: TypeAlias = Channel | Literal["clock"]
Publish: TypeAlias = Callable[[Channel, Callable[[EventStream], Event]], bool]


class SnapshotSource(Protocol):
    def wallet(self) -> RestSnapshot: ...
    def open_orders(self) -> list[RestSnapshot]: ...
    def positions(self) -> list[RestSnapshot]: ...
    def clock(self) -> tuple[int, float]: ...


@dataclass(slots=True)
class _Pending:
    """A snapshot that is still to be published."""

    due_at: float
    tries: int = 0
    backoff: Backoff = field(default_factory=lambda: Backoff(0.5, 5.0))


class SnapshotJob(Job[SnapshotRequest]):
    """The state of a topic after each subscribe, and the exchange's clock every 30 s.

    The wallet is repeated every five minutes, so that consumers who keep balances can compare. Requests for a topic
    whose snapshot is still to be published are one. A snapshot is tried up to five times.
    """

    name = "snapshots"

    def __init__(
        self, source: SnapshotSource, clock: ExchangeClock, publish: Publish, wallet_every_s: float = WALLET_EVERY_S
    ) -> None:
        super().__init__()
        self._source = source
        self._clock = clock
        self._publish = publish
        self._wallet_every_s = wallet_every_s
        self._clock_due_at = 0.0
        self._wallet: Channel | None = None
        self._wallet_due_at = NEVER
        self._pending: dict[Channel, _Pending] = {}

    def request(self, channel: Channel) -> None:
        """Publish the state of this topic, if REST has it."""
        if channel.channel_type in _TYPES and not self.requests.put(channel):
            log.error("snapshot queue full", topic=channel.topic)

    def request_clock(self) -> None:
        """Compare clocks soon."""
        self.requests.put("clock")

    def handle(self, request: SnapshotRequest, now: float) -> None:
        if request == "clock":
            self._clock_due_at = now
        else:
            self._pending[request] = _Pending(due_at=now)
            self._repeat_wallet(request, now)
        self._set_due()

    def run_due(self, now: float) -> None:
        if now >= self._clock_due_at:
            self._clock_due_at = now + _CLOCK_EVERY_S
            self._compare_clocks()
        if self._wallet is not None and now >= self._wallet_due_at:
            self._wallet_due_at = now + self._wallet_every_s
            self._pending.setdefault(self._wallet, _Pending(due_at=now))
        for channel, pending in list(self._pending.items()):
            if now >= pending.due_at:
                self._try(channel, pending, now)
        self._set_due()

    def _repeat_wallet(self, channel: Channel, now: float) -> None:
        if channel.channel_type == "balance":
            self._wallet = channel
            self._wallet_due_at = now + self._wallet_every_s

    def _set_due(self) -> None:
        retries = (pending.due_at for pending in self._pending.values())
        self.due_at = min(self._clock_due_at, self._wallet_due_at, *retries)

    def _try(self, channel: Channel, pending: _Pending, now: float) -> None:
        del self._pending[channel]  # before the call, so that an unforeseen error does not come again with each restart
        try:
            snapshots = self._fetch(channel)
        except Unavailable as error:
            self._failed(channel, pending, error, now)
            return
        for snapshot in snapshots:
            self._publish(channel, snapshot_event(snapshot))
        log.info("snapshot published", topic=channel.topic, events=len(snapshots))

    def _fetch(self, channel: Channel) -> Sequence[RestSnapshot]:
        match channel.channel_type:
            case "balance":
                return [self._source.wallet()]
            case "order":
                return self._source.open_orders()
            case _:
                return self._source.positions()

    def _failed(self, channel: Channel, pending: _Pending, error: Unavailable, now: float) -> None:
        self._compare_clocks()  # a wrong clock may be the reason of the refusal
        pending.tries += 1
        if pending.tries >= _TRIES:
            log.error("snapshot failed", topic=channel.topic, error=str(error))  # the state is late until the next push
            return
        wait_s = max(pending.backoff.next_s(), retry_after_s(error))
        log.warning("snapshot delayed", topic=channel.topic, error=str(error), retry_in_s=round(wait_s, 3))
        pending.due_at = now + wait_s
        self._pending[channel] = pending

    def _compare_clocks(self) -> None:
        try:
            self._clock.observe(*self._source.clock())
        except Unavailable as error:
            log.info("exchange clock unavailable", error=str(error))


def snapshot_event(snapshot: RestSnapshot) -> Callable[[EventStream], Event]:
    """How the topic's own stream makes an event of the snapshot."""
    received_ns = time.time_ns()
    return lambda stream: stream.snapshot(snapshot.result, snapshot.version_ms, received_ns)
