"""The thread that gives one lane's events to the broker and learns which ones it has."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import pika
import structlog
from pika.adapters.select_connection import IOLoop
from pika.spec import Basic

from common import amqp, settings
from common.errors import Unavailable
from common.foreign import plain
from common.retrying import Backoff
from ingestor.delivery.amqp_connection import BatchingConnection
from ingestor.delivery.amqp_frames import Confirm, FrameEncoder
from ingestor.delivery.outbox import Entry, Lane
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.unconfirmed import Unconfirmed
from ingestor.metrics import PUBLISHER

log = structlog.get_logger(__name__)

CONFIRMED_WITHIN_S = 10.0  # the oldest unconfirmed message; a paused broker shows nothing else
_TICK_S = 0.25
_SWEEP_S = 1.0
_SPILL_AFTER_S = 1.0
_DRAIN_S = 5.0
_BURST = 500
_AGAIN_S = 0.02


class Topology(Protocol):
    """Makes the queues and bindings before anything is published."""

    def remake(self, done: Callable[[], None]) -> None:
        """Make what is wanted, then call `done` from another thread."""

    def wants(self, routing_key: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Link:
    """How the publisher stands with the broker."""

    connected: bool
    since: datetime
    reason: str


def worst(links: Sequence[Link]) -> Link:
    """All of them as one: connected since the last one is, away since the first one is."""
    away = [link for link in links if not link.connected]
    return min(away, key=lambda link: link.since) if away else max(links, key=lambda link: link.since)


class Publisher:
    """Owns one connection at a time; what it has not seen confirmed it sends again, in order, with the same ids.

    A queue that takes nothing holds up its whole channel, so private events and market data go separate ways.
    """

    def __init__(
        self,
        name: str,
        lane: Lane,
        rabbitmq: settings.RabbitMQ,
        made: Topology,
        traffic: Traffic,
        window: int,
        retention_s: float | None = None,
    ) -> None:
        self.name = f"publisher {name}"
        self._lane = lane
        self._rabbitmq = rabbitmq
        self._topology = made
        self._traffic = traffic
        self._window = window
        self._retention_s = retention_s
        self._ledger: Unconfirmed[Entry] = Unconfirmed()
        self._returned: set[str] = set()  # ids that came back and are still wanted; their confirm follows
        self._unroutable: list[Entry] = []
        self._backoff = Backoff(first_s=0.2, most_s=5.0)
        self.link = Link(False, datetime.now(UTC), "not connected yet")
        self._connection: BatchingConnection | None = None
        self._channel: Any = None
        self._wire: FrameEncoder | None = None
        self._ready = False
        self._away_since: float | None = time.monotonic()
        self._oldest: Entry | None = None  # without a confirm
        self._oldest_since = 0.0
        self._swept_at = 0.0
        self._drain_until = 0.0
        self._closing = False
        self._log = log.bind(lane=name)
        lane.on_arrival(self._ring)

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            for parameters in self._hosts():
                self._converse(parameters, stop)
                if stop.is_set():
                    break
            self._wait(stop)
        self._lane.close()

    def _hosts(self) -> list[pika.ConnectionParameters]:
        try:
            return amqp.parameters(self._rabbitmq, f"ws-gateway ingestor {self.name}")
        except Unavailable as error:
            self._away(str(error))
            return []

    # -- one connection -------------------------------------------------------------------------------------

    def _converse(self, parameters: pika.ConnectionParameters, stop: threading.Event) -> None:
        loop = IOLoop()
        self._connection = BatchingConnection(
            parameters,
            on_open_callback=self._opened,
            on_open_error_callback=lambda _, error: self._ended(error),
            on_close_callback=lambda _, error: self._ended(error),
            custom_ioloop=loop,
            internal_connection_workflow=True,
        )
        self._connection.add_on_connection_blocked_callback(lambda *_: self._away("blocked by the broker"))
        self._connection.add_on_connection_unblocked_callback(lambda *_: self._begin())
        try:
            self._tick(stop)
            loop.start()
        except Exception as error:
            self._ended(error)  # what has no confirm goes out again, in order
            self._connection.abort("internal error")
            raise
        finally:
            self._connection = None
            loop.close()

    def _opened(self, connection: BatchingConnection) -> None:
        connection.channel(on_open_callback=self._channel_opened)

    def _channel_opened(self, channel: Any) -> None:
        self._channel = channel
        self._wire = FrameEncoder(channel.channel_number, channel.connection.params.frame_max)
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._came_back)
        channel.confirm_delivery(self._answered, callback=lambda _: self._make_topology())
        channel.connection.on_confirms = self._confirmed

    def _channel_closed(self, _channel: Any, error: object) -> None:
        if not self._closing:
            self._abort(f"channel closed: {error}")

    def _make_topology(self) -> None:
        self._topology.remake(lambda: self._soon(self._begin))

    def _begin(self) -> None:
        """The queues are there: publish, the oldest first."""
        if self._channel is None or not self._channel.is_open:
            return
        if self._unroutable and len(self._ledger):  # first hear about all that is under way, to keep the order
            self._later(self._begin)
            return
        self._send_again(self._unroutable)
        self._ready = True
        self._away_since = None
        if not self.link.connected:
            self.link = Link(True, datetime.now(UTC), "connected")
            self._log.info("broker connected", waiting=self._waiting())
        self._pump()

    def _ended(self, error: object) -> None:
        reason = f"{type(error).__name__}: {error}" if error else "closed"
        if self._closing:
            reason = "stopping"
        self._away(reason)
        self._channel = None
        self._send_again(self._unroutable + self._ledger.given_up())
        if self._connection is not None:
            self._connection.ioloop.stop()

    def _abort(self, reason: str) -> None:
        self._away(reason)
        if self._connection is not None and not self._connection.is_closed:
            self._connection.abort(reason)

    def _away(self, reason: str) -> None:
        reason = plain(reason)
        self._ready = False
        self._away_since = self._away_since or time.monotonic()
        if self.link.connected:
            self.link = Link(False, datetime.now(UTC), reason)
            if self._closing:
                self._log.info("broker connection closed", unconfirmed=len(self._ledger))
            else:
                self._log.warning("broker is away", reason=reason, unconfirmed=len(self._ledger))
        elif self.link.reason == "not connected yet":
            self.link = Link(False, self.link.since, reason)
            self._log.warning("broker is away", reason=reason)

    def _send_again(self, entries: list[Entry]) -> None:
        """Back to the head of the lane, in order."""
        self._lane.returned(sorted(entries, key=lambda entry: entry.position))
        self._unroutable = []
        self._returned.clear()

    # -- publishing -----------------------------------------------------------------------------------------

    def _pump(self) -> None:
        self._lane.heard()
        while self._ready and (room := self._window - len(self._ledger)) > 0:
            batch = self._lane.take(min(room, _BURST))
            if not batch:
                return
            self._publish(batch)

    def _publish(self, batch: list[Entry]) -> None:
        for entry in batch:  # first into the ledger: whatever happens below, none of them is forgotten
            self._ledger.published(entry)
        if self._connection is None or self._wire is None or not self._channel.is_open:
            return
        frames: list[bytes] = []
        for entry in batch:
            self._wire.publish(entry.event, frames)
            self._traffic.count(entry.event.routing_key)
        self._connection.write(frames)
        PUBLISHER.published.inc(len(batch))

    def _answered(self, frame: Any) -> None:
        method = frame.method
        if isinstance(method, Basic.Nack):
            PUBLISHER.nacked.inc()
            self._abort("the broker refused a message")
        else:
            self._confirmed([(method.delivery_tag, method.multiple)])

    def _confirmed(self, told: Sequence[Confirm]) -> None:
        settled = [entry for tag, multiple in told for entry in self._ledger.settled(tag, multiple)]
        self._backoff.reset()
        if self._returned:
            settled = self._without_returned(settled)
        self._lane.confirmed(settled)
        PUBLISHER.confirmed.inc(len(settled))
        self._pump()

    def _came_back(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        PUBLISHER.returned.inc()
        if self._topology.wants(method.routing_key):
            self._returned.add(properties.message_id)

    def _without_returned(self, settled: Iterable[Entry]) -> list[Entry]:
        """Unroutable and yet wanted: the queue is gone. It is made again, and they are sent once more."""
        confirmed: list[Entry] = []
        for entry in settled:
            returned = entry.event.id in self._returned
            (self._unroutable if returned else confirmed).append(entry)
        if self._unroutable and self._ready:
            self._ready = False
            self._log.warning("events had no queue; making it again", routing_key=self._unroutable[0].event.routing_key)
            self._make_topology()
        return confirmed

    # -- time -----------------------------------------------------------------------------------------------

    def _tick(self, stop: threading.Event) -> None:
        connection = self._connection
        if connection is None:
            return
        connection.ioloop.call_later(_TICK_S, lambda: self._tick(stop))
        now = time.monotonic()
        self._look_at_oldest(now)
        self._keep(now)
        if stop.is_set():
            self._leave(connection, now)

    def _look_at_oldest(self, now: float) -> None:
        oldest = self._ledger.oldest() if self._ready else None
        if oldest is not self._oldest:
            self._oldest, self._oldest_since = oldest, now
        elif oldest is not None and now - self._oldest_since > CONFIRMED_WITHIN_S:
            key = oldest.event.routing_key
            self._abort(f"no confirm for {CONFIRMED_WITHIN_S:g} s from the queues of {key}")

    def _keep(self, now: float) -> None:
        """Housekeeping of the lane: spill while the broker is away, forget what is confirmed."""
        if now - self._swept_at < _SWEEP_S:
            return
        self._swept_at = now
        away = self._away_since is not None and now - self._away_since > _SPILL_AFTER_S
        if away:
            self._lane.spill()
        self._lane.sweep(time.time() - self._retention_s if self._retention_s else None)

    def _leave(self, connection: BatchingConnection, now: float) -> None:
        """Stop when everything is confirmed, or when it takes too long: the rest waits on disk."""
        self._drain_until = self._drain_until or now + _DRAIN_S
        if (self._lane.empty or now > self._drain_until or not self._ready) and not self._closing:
            self._closing = True
            self._abort("stopping") if not self._ready else connection.close()
        elif self._closing and now > self._drain_until + 1:
            self._abort("stopping")

    def _wait(self, stop: threading.Event) -> None:
        """Between two connections the lanes still need looking after."""
        until = time.monotonic() + self._backoff.next_s()
        while not stop.is_set() and time.monotonic() < until:
            self._keep(time.monotonic())
            stop.wait(min(_TICK_S, max(0.0, until - time.monotonic())))

    # -- from other threads ---------------------------------------------------------------------------------

    def _ring(self) -> None:
        self._soon(self._pump)

    def _soon(self, act: Callable[[], None]) -> None:
        connection = self._connection
        if connection is not None:
            connection.ioloop.add_callback_threadsafe(act)

    def _later(self, act: Callable[[], None]) -> None:
        if self._connection is not None:
            self._connection.ioloop.call_later(_AGAIN_S, act)

    def _waiting(self) -> int:
        counts = self._lane.counts()
        return counts.in_flight + counts.spooled
