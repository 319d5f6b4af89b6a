"""Writes down in Postgres what this ingestor sees, every second and at each change."""

import socket
import threading
import time
from collections import Counter
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
from ingestor.control.topic_reports import CHANGES_AT_ONCE, TopicReports
from ingestor.delivery.broker_link import Link
from ingestor.delivery.disk_probe import Trouble
from ingestor.delivery.management import UNKNOWN, Consumption
from ingestor.delivery.outbox import Counts
from ingestor.delivery.progress import Progress
from ingestor.delivery.queue_alarms import Level
from ingestor.delivery.queue_monitor import Depth
from ingestor.feed.gaps import Gap
from ingestor.metrics import BROKER_CONNECTED, LANE, RECONCILED, TOPICS
from ingestor.observed import ObservedConnection, ObservedTopic

log = structlog.get_logger(__name__)

WRITTEN_EVERY_S = 1.0
SUMMARY_EVERY_S = 60.0
_TOGETHER_S = 0.05  # changes that come in a bunch are one write


class Unwritten(Protocol):
    def unwritten(self) -> list[Gap]: ...
    def written(self, gaps: list[Gap]) -> None: ...


@dataclass(frozen=True, slots=True)
class ReportSources:
    """Where to look."""

    sockets: Callable[[], list[ObservedConnection]]
    link: Callable[[], Link]
    depths: Callable[[], dict[str, Depth]]
    consumptions: Callable[[], Mapping[str, Consumption]]
    mismatched: Callable[[], Collection[str]]
    lanes: Callable[[], dict[str, Counts]]
    disk: Callable[[], Trouble | None]
    clock_offset_ms: Callable[[], float | None]


class Reporter:
    """The only writer of `topics`, `connections`, `queues`, `gaps` and this life's row in `ingestors`."""

    name = "status"

    def __init__(
        self, engine: Engine, epoch: str, sights: ReportSources, gaps: Unwritten, changed: threading.Event
    ) -> None:
        self._engine = engine
        self._epoch = epoch
        self._sights = sights
        self._gaps = gaps
        self._changed = changed
        self._generation = 0
        self._progress = Progress()
        self._topics = TopicReports()
        self._queues_written: tuple[object, ...] = ()
        self._fresh = True  # nothing of this life is in the tables, as far as we know
        self._counted: dict[tuple[str, int], int] = {}
        self._summary_at = time.monotonic() + SUMMARY_EVERY_S

    def carried_out(self, generation: int) -> None:
        """The subscriptions up to this generation are carried out."""
        if generation > self._generation:
            self._generation = generation
            RECONCILED.set(generation)
            self._changed.set()

    def run(self, stop: threading.Event) -> None:
        keep_trying(lambda backoff: self._write_until(stop, backoff), stop, "postgres", Backoff(0.2, 2.0))
        self._leave()

    def _write_until(self, stop: threading.Event, backoff: Backoff) -> None:
        self._fresh = True  # Postgres was away: another server may answer now
        self._topics.doubt()
        while not stop.is_set():
            self._changed.clear()
            sockets = self._sights.sockets()
            self._measure(sockets)
            self._summarise(sockets)
            with database.retriable():
                self._write(sockets)
            backoff.reset()
            if self._changed.wait(WRITTEN_EVERY_S):
                stop.wait(_TOGETHER_S)

    def _write(self, sockets: list[ObservedConnection]) -> None:
        """In several transactions: the heartbeat does not wait for the rest. Of the rest, what changed."""
        with self._engine.begin() as connection:
            self._beat(connection)
            offset = self._sights.clock_offset_ms()
            connections.record(connection, self._epoch, [_row(self._epoch, seen, offset) for seen in sockets])
            if self._fresh:
                topics.forget_earlier(connection, self._epoch)
        self._write_topics(sockets)
        self._write_queues()
        self._write_gaps()
        self._fresh = False

    def _beat(self, connection: Connection) -> None:
        ingestors.beat(
            connection,
            epoch=self._epoch,
            host=socket.gethostname(),
            role="leader",
            generation=self._generation,
            delivery=self._delivery(),
        )

    def _write_topics(self, sockets: list[ObservedConnection]) -> None:
        now = time.monotonic()
        held = {(seen.endpoint, topic.channel.topic): topic for seen in sockets for topic in seen.topics}
        changes = self._topics.changes(held, now)
        if changes.gone or changes.written:
            with self._engine.begin() as connection:
                topics.forget(connection, changes.gone)
                topics.record(connection, [_topic_row(self._epoch, key[0], t) for key, t in changes.written.items()])
        self._topics.written(changes, now)
        if changes.more:
            self._changed.set()

    def _write_queues(self) -> None:
        """They are looked at every few seconds only."""
        looks = (self._sights.depths(), self._sights.consumptions(), self._sights.mismatched())
        if not self._fresh and looks == self._queues_written:
            return
        with self._engine.begin() as connection:
            queues.record(connection, _queue_rows(*looks))
        self._queues_written = looks

    def _write_gaps(self) -> None:
        unwritten = self._gaps.unwritten()
        for start in range(0, len(unwritten), CHANGES_AT_ONCE):
            some = unwritten[start : start + CHANGES_AT_ONCE]
            with self._engine.begin() as connection:
                gaps.record(connection, [_gap_row(gap) for gap in some])
            self._gaps.written(some)

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

    def _leave(self) -> None:
        """So that nobody waits for our heartbeat to grow old."""
        try:
            with database.retriable(), self._engine.begin() as connection:
                ingestors.leave(connection, self._epoch)
        except Exception as error:
            log.info("could not sign off", error=str(error))

    def _measure(self, sockets: Iterable[ObservedConnection]) -> None:
        BROKER_CONNECTED.set(self._sights.link().connected)
        for lane, counts in self._sights.lanes().items():
            for what in Counts.__slots__:
                LANE.labels(lane, what).set(getattr(counts, what))
        for (endpoint, state), number in _by_state(sockets).items():
            TOPICS.labels(endpoint, state).set(number)

    def _summarise(self, sockets: Iterable[ObservedConnection]) -> None:
        if time.monotonic() < self._summary_at:
            return
        self._summary_at = time.monotonic() + SUMMARY_EVERY_S
        for seen in sockets:
            key, counted = (seen.endpoint, seen.number), sum(topic.events for topic in seen.topics)
            came = max(0, counted - self._counted.get(key, 0))  # fewer when a topic has left
            self._counted[key] = counted
            states = {state: number for (_, state), number in _by_state([seen]).items()}
            log.info("connection summary", endpoint=seen.endpoint, socket_no=seen.number, events=came, **states)


def _by_state(sockets: Iterable[ObservedConnection]) -> Counter[tuple[str, str]]:
    """How many topics of each endpoint are in each state, none included."""
    found = Counter[tuple[str, str]]()
    for seen in sockets:
        found.update({(seen.endpoint, state): 0 for state in ("live", "pending", "rejected")})
        found.update((seen.endpoint, topic.state) for topic in seen.topics)
    return found


def _row(epoch: str, seen: ObservedConnection, offset_ms: float | None) -> connections.Socket:
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


def _topic_row(epoch: str, endpoint: str, topic: ObservedTopic) -> topics.Topic:
    return topics.Topic(
        endpoint=endpoint,
        topic=topic.channel.topic,
        channel_type=topic.channel.channel_type,
        state=topic.state,
        reason=topic.reason,
        epoch=epoch,
        acked_at=topic.acked_at,
        last_event_at=topic.last_event_at,
        events=topic.events,
    )


def _queue_rows(
    depths: Mapping[str, Depth], consumptions: Mapping[str, Consumption], mismatched: Collection[str]
) -> list[queues.Queue]:
    return [_queue_row(depth, consumptions.get(name, UNKNOWN), name in mismatched) for name, depth in depths.items()]


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
        nobody_since=None if depth.unread_since is None else _moment(depth.unread_since),
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
