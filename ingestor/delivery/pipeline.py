"""Publishes a lane's events with pipelined confirms: many are unconfirmed at a time, and none is lost."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import structlog

from common.events import Event
from common.foreign import plain
from ingestor.delivery.amqp_frames import Confirm
from ingestor.delivery.broker_link import Link
from ingestor.delivery.outbox import Entry, Lane
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.unconfirmed import CONFIRMED_WITHIN_S, ConfirmDeadline, Unconfirmed, Unroutable
from ingestor.metrics import PUBLISHER

DRAIN_S = 5.0
_BURST = 500
_RETRY_S = 0.02
_NOT_CONNECTED_YET = "not connected yet"


class PublishConnection(Protocol):
    """One connection to the broker, with one channel in confirm mode."""

    @property
    def is_open(self) -> bool: ...

    def publish(self, events: Iterable[Event]) -> None: ...

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None: ...

    def call_soon(self, callback: Callable[[], None]) -> None:
        """From any thread."""

    def close(self) -> None: ...

    def abort(self, reason: str) -> None: ...


class TopologyRepair(Protocol):
    """Declares the queues and bindings before anything is published."""

    def remake(self, requester: str, done: Callable[[], None]) -> None:
        """Declare everything again, then call `done` from another thread."""

    def needs(self, routing_key: str) -> bool:
        """Whether a queue of a service should have received a message with this key."""


class Pipeline:
    """Unconfirmed events of a lost connection are sent again over the next one, first, in sequence, with the same ids.

    The connection calls the methods of a ConnectionListener, all in one thread.
    """

    def __init__(
        self,
        name: str,
        lane: Lane,
        topology: TopologyRepair,
        traffic: Traffic,
        window: int,
        proof_of_life: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.link = Link(connected=False, since=datetime.now(UTC), reason=_NOT_CONNECTED_YET)
        self.unavailable_since: float | None = clock()
        self._lane = lane
        self._topology = topology
        self._traffic = traffic
        self._window = window
        self._proof_of_life = proof_of_life
        self._clock = clock
        self._connection: PublishConnection | None = None
        self._unconfirmed: Unconfirmed[Entry] = Unconfirmed()
        self._unroutable = Unroutable()
        self._deadline = ConfirmDeadline()
        self._ready = False
        self._drain_until = 0.0
        self._closing = False
        self._log = structlog.get_logger(__name__).bind(publisher=name)
        lane.on_arrival(partial(self._soon, self._pump))

    def attach(self, connection: PublishConnection) -> None:
        """Use this connection from now on; its `opened` follows."""
        self._connection = connection

    # -- reported by the connection -------------------------------------------------------------------------

    def opened(self) -> None:
        self._remake_topology()

    def confirmed(self, confirmed: Sequence[Confirm]) -> None:
        entries = [
            entry for tag, multiple in confirmed for entry in self._unconfirmed.confirmed(tag, multiple=multiple)
        ]
        self._proof_of_life()
        routed = self._unroutable.separate(entries)
        self._lane.confirmed(routed)
        PUBLISHER.confirmed.inc(len(routed))
        self._repair()
        self._pump()

    def refused(self) -> None:
        PUBLISHER.nacked.inc()
        self._abort("the broker refused a message")

    def returned(self, routing_key: str, message_id: str) -> None:
        PUBLISHER.returned.inc()
        if self._topology.needs(routing_key):
            self._unroutable.returned(message_id)

    def paused(self, reason: str) -> None:
        self._ready = False
        if self.unavailable_since is None:
            self.unavailable_since = self._clock()
        self._record(plain(reason))

    def resumed(self) -> None:
        """The queues are there: publish, the oldest first."""
        if self._connection is None or not self._connection.is_open:
            return
        if self._unroutable.entries and len(self._unconfirmed):  # wait for all confirms, to keep the sequence
            self._connection.call_later(_RETRY_S, self.resumed)
            return
        self._send_again(self._unroutable.drain())
        self._ready = True
        self.unavailable_since = None
        if not self.link.connected:
            self.link = Link(connected=True, since=datetime.now(UTC), reason="connected")
            counts = self._lane.counts()
            self._log.info("broker connected", waiting=counts.in_flight + counts.spooled)
        self._pump()

    def closed(self, reason: str) -> None:
        self.paused("stopping" if self._closing else reason)
        self._connection = None
        self._send_again(self._unroutable.drain() + self._unconfirmed.drain())

    # -- regularly ------------------------------------------------------------------------------------------

    def tick(self, now: float, *, stopping: bool) -> None:
        """Called several times per second while there is a connection; `now` is monotonic."""
        oldest = self._unconfirmed.oldest() if self._ready else None
        if self._deadline.missed(oldest, now) and oldest is not None:
            self._abort(f"no confirm for {CONFIRMED_WITHIN_S:g} s from the queues of {oldest.event.routing_key}")
        if stopping:
            self._stop(now)

    # -- helpers --------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        self._lane.heard()
        while self._ready and (room := self._window - len(self._unconfirmed)) > 0:
            batch = self._lane.take(min(room, _BURST))
            if not batch:
                return
            self._publish(batch)

    def _publish(self, batch: list[Entry]) -> None:
        for entry in batch:  # before anything below can fail: none of them may be forgotten
            self._unconfirmed.published(entry)
        if self._connection is None or not self._connection.is_open:
            return
        for entry in batch:
            self._traffic.count(entry.event.routing_key)
        self._connection.publish(entry.event for entry in batch)
        PUBLISHER.published.inc(len(batch))

    def _repair(self) -> None:
        if self._unroutable.entries and self._ready:
            self._ready = False
            key = self._unroutable.entries[0].event.routing_key
            self._log.warning("events unroutable, topology is remade", routing_key=key)
            self._remake_topology()

    def _remake_topology(self) -> None:
        self._topology.remake(self.name, partial(self._soon, self.resumed))

    def _send_again(self, entries: list[Entry]) -> None:
        self._lane.returned(sorted(entries, key=lambda entry: entry.position))

    def _stop(self, now: float) -> None:
        """Close when everything is confirmed, or when that takes too long: the rest waits on disk."""
        if self._connection is None:
            return
        self._drain_until = self._drain_until or now + DRAIN_S
        if self._closing:
            if now > self._drain_until + 1:
                self._abort("stopping")
        elif not self._ready:
            self._closing = True
            self._abort("stopping")
        elif self._lane.empty or now > self._drain_until:
            self._closing = True
            self._connection.close()

    def _abort(self, reason: str) -> None:
        self.paused(reason)
        if self._connection is not None:
            self._connection.abort(reason)

    def _record(self, reason: str) -> None:
        if self.link.connected:
            self.link = Link(connected=False, since=datetime.now(UTC), reason=reason)
            if self._closing:
                self._log.info("broker connection closed", unconfirmed=len(self._unconfirmed))
            else:
                self._log.warning("broker unavailable", reason=reason, unconfirmed=len(self._unconfirmed))
        elif self.link.reason == _NOT_CONNECTED_YET:
            self.link = Link(connected=False, since=self.link.since, reason=reason)
            self._log.warning("broker unavailable", reason=reason)

    def _soon(self, callback: Callable[[], None]) -> None:
        """From any thread."""
        connection = self._connection
        if connection is not None:
            connection.call_soon(callback)
