"""Writes down in Postgres what this ingestor sees, every second and at each change."""

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog
from sqlalchemy import Connection, Engine

from common import database
from common.channels import CHANNEL_TYPES
from common.retrying import Backoff, keep_trying
from common.tables import connections, gaps, ingestors, queues, topics
from ingestor.delivery.depths import Depth
from ingestor.delivery.disk import Trouble
from ingestor.delivery.management import UNKNOWN, Consumption
from ingestor.delivery.outbox import Counts
from ingestor.delivery.progress import Progress
from ingestor.delivery.publisher import Link
from ingestor.delivery.watch import Level
from ingestor.exchange.gaps import Gap
from ingestor.exchange.stream import SocketSeen
from ingestor.metrics import BROKER_CONNECTED, LANE, RECONCILED, TOPICS

log = structlog.get_logger(__name__)

WRITTEN_EVERY_S = 1.0
SUMMARY_EVERY_S = 60.0
_TOGETHER_S = 0.05  # changes that come in a bunch are one write


class Unwritten(Protocol):
    def unwritten(self) -> list[Gap]: ...
    def written(self, gaps: list[Gap]) -> None: ...


@dataclass(frozen=True, slots=True)
class Sights:
    """Where to look."""

    sockets: Callable[[], list[SocketSeen]]
    link: Callable[[], Link]
    depths: Callable[[], dict[str, Depth]]
    consumptions: Callable[[], Mapping[str, Consumption]]
    mismatched: Callable[[], Collection[str]]
    lanes: Callable[[], dict[str, Counts]]
    disk: Callable[[], Trouble | None]
    clock_offset_ms: Callable[[], float | None]


class Status:
    """The only writer of `topics`, `connections`, `queues`, `gaps` and this life's row in `ingestors`."""

    name = "status"

    def __init__(self, engine: Engine, epoch: str, sights: Sights, gaps: Unwritten, changed: threading.Event) -> None:
        self._engine = engine
        self._epoch = epoch
        self._sights = sights
        self._gaps = gaps
        self._changed = changed
        self._generation = 0
        self._progress = Progress()
        self._counted: dict[tuple[str, str], int] = {}
        self._summary_at = time.monotonic() + SUMMARY_EVERY_S

    def carried_out(self, generation: int) -> None:
        """The wishes up to this generation are carried out."""
        if generation > self._generation:
            self._generation = generation
            RECONCILED.set(generation)
            self._changed.set()

    def run(self, stop: threading.Event) -> None:
        keep_trying(lambda backoff: self._write_until(stop, backoff), stop, "postgres", Backoff(0.2, 2.0))
        self._leave()

    def _write_until(self, stop: threading.Event, backoff: Backoff) -> None:
        while not stop.is_set():
            self._changed.clear()
            sockets = self._sights.sockets()
            self._measure(sockets)
            self._summarise(sockets)
            with database.retriable(), self._engine.begin() as connection:
                self._write(connection, sockets)
            backoff.reset()
            if self._changed.wait(WRITTEN_EVERY_S):
                stop.wait(_TOGETHER_S)

    def _write(self, connection: Connection, sockets: list[SocketSeen]) -> None:
        ingestors.beat(
            connection,
            epoch=self._epoch,
            host=socket.gethostname(),
            role="leader",
            generation=self._generation,
            delivery=self._delivery(),
        )
        offset = self._sights.clock_offset_ms()
        connections.record(connection, self._epoch, [_row(self._epoch, seen, offset) for seen in sockets])
        rows = [row for seen in sockets for row in _topic_rows(self._epoch, seen)]
        topics.record(connection, rows)
        topics.forget_others(connection, [(row.endpoint, row.topic) for row in rows])
        queues.record(connection, self._queues())
        unwritten = self._gaps.unwritten()
        gaps.record(connection, [_gap_row(gap) for gap in unwritten])
        self._gaps.written(unwritten)

    def _delivery(self) -> ingestors.Delivery:
        link, trouble = self._sights.link(), self._sights.disk()
        return ingestors.Delivery(
            broker_connected=link.connected,
            broker_since=link.since,
            broker_reason=link.reason,
            lanes=self._progress.seen(self._sights.lanes(), datetime.now(UTC)),
            disk_trouble=trouble.reason if trouble else None,
            disk_since=trouble.since if trouble else None,
        )

    def _queues(self) -> list[queues.Queue]:
        consumptions, mismatched = self._sights.consumptions(), self._sights.mismatched()
        return [
            _queue_row(depth, consumptions.get(name, UNKNOWN), name in mismatched)
            for name, depth in self._sights.depths().items()
        ]

    def _leave(self) -> None:
        """So that nobody waits for our heartbeat to grow old."""
        try:
            with database.retriable(), self._engine.begin() as connection:
                ingestors.leave(connection, self._epoch)
        except Exception as error:
            log.info("could not sign off", error=str(error))

    def _measure(self, sockets: Iterable[SocketSeen]) -> None:
        BROKER_CONNECTED.set(self._sights.link().connected)
        for lane, counts in self._sights.lanes().items():
            for what in Counts.__slots__:
                LANE.labels(lane, what).set(getattr(counts, what))
        for seen in sockets:
            for state in ("live", "pending", "rejected"):
                TOPICS.labels(seen.endpoint, state).set(sum(topic.state == state for topic in seen.topics))

    def _summarise(self, sockets: Iterable[SocketSeen]) -> None:
        if time.monotonic() < self._summary_at:
            return
        self._summary_at = time.monotonic() + SUMMARY_EVERY_S
        for seen in sockets:
            for topic in seen.topics:
                key = (seen.endpoint, topic.channel.topic)
                came = max(0, topic.events - self._counted.get(key, 0))
                self._counted[key] = topic.events
                log.info("topic summary", endpoint=key[0], topic=key[1], state=topic.state, events=came)


def _row(epoch: str, seen: SocketSeen, offset_ms: float | None) -> connections.Socket:
    return connections.Socket(
        epoch=epoch,
        endpoint=seen.endpoint,
        socket_no=seen.number,
        state=str(seen.state),
        since=seen.since,
        attempts=seen.attempts,
        last_error=seen.last_error,
        rtt_ms=seen.rtt_ms,
        clock_offset_ms=offset_ms,
        last_heartbeat_at=seen.last_heartbeat_at,
    )


def _topic_rows(epoch: str, seen: SocketSeen) -> list[topics.Topic]:
    return [
        topics.Topic(
            endpoint=seen.endpoint,
            topic=topic.channel.topic,
            channel_type=topic.channel.channel_type,
            state=topic.state,
            reason=topic.reason,
            epoch=epoch,
            acked_at=topic.acked_at,
            last_event_at=topic.last_event_at,
            events=topic.events,
        )
        for topic in seen.topics
    ]


def _queue_row(depth: Depth, consumption: Consumption, other_arguments: bool) -> queues.Queue:
    rest = depth.name.removeprefix("ws-gateway.")
    event_class, _, service = rest.partition(".")
    return queues.Queue(
        name=depth.name,
        event_class=event_class if event_class in CHANNEL_TYPES else rest,
        service=service or None,
        ready=depth.ready,
        consumers=depth.consumers,
        publish_rate=depth.publish_rate,
        net_rate=depth.net_rate,
        unused_since=depth.unused_since,
        alarm=None if depth.alarm.level is Level.OK else str(depth.alarm.level),
        reason=depth.alarm.reason,
        consume_rate=consumption.rate,
        oldest_at=consumption.oldest_at,
        nobody_since=None if depth.nobody_since is None else _moment(depth.nobody_since),
        read_since=None if depth.read_since is None else _moment(depth.read_since),
        other_arguments=other_arguments,
        observed_at=_moment(depth.observed_at),
    )


def _moment(monotonic_s: float) -> datetime:
    return datetime.fromtimestamp(time.time() - (time.monotonic() - monotonic_s), UTC)


def _gap_row(gap: Gap) -> gaps.Window:
    return gaps.Window(
        endpoint=gap.endpoint,
        topic=gap.topic,
        opened=gap.opened,
        closed=gap.closed,
        cause=gap.cause,
        ids={"last_id": gap.last_id, "first_id": gap.first_id},
        healed=gap.healed,
    )
