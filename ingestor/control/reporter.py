"""Publishes in Postgres what this ingestor observes, every second and at each change."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog

from common.backoff import Backoff
from common.retrying import keep_trying
from common.tables import ingestors
from ingestor.control.topic_reports import MAX_CHANGES, Key, TopicReports
from ingestor.delivery.broker_link import Link
from ingestor.delivery.disk_probe import Trouble
from ingestor.delivery.management import Consumption
from ingestor.delivery.outbox import LaneCounts
from ingestor.delivery.progress import Progress
from ingestor.delivery.queue_monitor import Depth
from ingestor.feed.gaps import Gap
from ingestor.metrics import BROKER_CONNECTED, LANE, RECONCILED, TOPICS
from ingestor.observed import ObservedConnection, ObservedTopic

log = structlog.get_logger(__name__)

REPORT_EVERY_S = 1.0
SUMMARY_EVERY_S = 60.0
_TOGETHER_S = 0.05  # changes that arrive together are one write


class ReportStore(Protocol):
    """Each method is one transaction, and raises Unavailable."""

    def write_heartbeat(
        self,
        generation: int,
        delivery: ingestors.DeliveryState,
        observed: Sequence[ObservedConnection],
        clock_offset_ms: float | None,
        *,
        forget_earlier: bool,
    ) -> None: ...

    def write_topics(self, gone: Sequence[Key], changed: Mapping[Key, ObservedTopic]) -> None: ...

    def write_queues(
        self, depths: Mapping[str, Depth], consumptions: Mapping[str, Consumption], mismatched: Collection[str]
    ) -> None: ...

    def write_gaps(self, changed: Iterable[Gap]) -> None: ...

    def leave(self) -> None: ...


class UnwrittenGaps(Protocol):
    def unwritten(self) -> list[Gap]: ...
    def written(self, gaps: list[Gap]) -> None: ...


@dataclass(frozen=True, slots=True)
class ReportSources:
    """Where the observations come from; each is called from the reporter's thread."""

    sockets: Callable[[], list[ObservedConnection]]
    link: Callable[[], Link]
    depths: Callable[[], dict[str, Depth]]
    consumptions: Callable[[], Mapping[str, Consumption]]
    mismatched: Callable[[], Collection[str]]
    lanes: Callable[[], dict[str, LaneCounts]]
    disk: Callable[[], Trouble | None]
    clock_offset_ms: Callable[[], float | None]


class Reporter:
    """The only writer of `topics`, `connections`, `queues`, `gaps` and this run's row in `ingestors`."""

    name = "reporter"

    def __init__(
        self,
        store: ReportStore,
        sources: ReportSources,
        gaps: UnwrittenGaps,
        changed: threading.Event,
        every_s: float = REPORT_EVERY_S,
    ) -> None:
        """`changed` is set by other threads when a report should not wait for the next second."""
        self._store = store
        self._sources = sources
        self._gaps = gaps
        self._changed = changed
        self._every_s = every_s
        self._generation = 0
        self._progress = Progress()
        self._topics = TopicReports()
        self._queues_written: tuple[object, ...] | None = None
        self._forget_earlier = True
        self._summary = ConnectionSummary()

    def applied(self, generation: int) -> None:
        """The subscriptions up to this generation are applied. From any thread."""
        if generation > self._generation:
            self._generation = generation
            RECONCILED.set(generation)
            self._changed.set()

    def run(self, stop: threading.Event) -> None:
        keep_trying(lambda backoff: self._report_until(stop, backoff), stop, "postgres", Backoff(0.2, 2.0))
        self._leave()

    def doubt(self) -> None:
        """The database was unavailable, and another server may answer now: report everything again."""
        self._forget_earlier = True
        self._queues_written = None
        self._topics.doubt()

    def report(self, now: float) -> None:
        """In several transactions: the heartbeat does not wait for the rest. Of the rest, what changed.

        `now` is monotonic. Raises Unavailable.
        """
        observed = self._sources.sockets()
        self._measure(observed)
        self._summary.log(observed, now)
        self._store.write_heartbeat(
            self._generation,
            self._delivery(),
            observed,
            self._sources.clock_offset_ms(),
            forget_earlier=self._forget_earlier,
        )
        self._write_topics(observed, now)
        self._write_queues()
        self._write_gaps()
        self._forget_earlier = False

    def _report_until(self, stop: threading.Event, backoff: Backoff) -> None:
        self.doubt()
        while not stop.is_set():
            self._changed.clear()
            self.report(time.monotonic())
            backoff.reset()
            if self._changed.wait(self._every_s):
                stop.wait(_TOGETHER_S)

    def _write_topics(self, observed: Iterable[ObservedConnection], now: float) -> None:
        held = {(each.endpoint, topic.channel.topic): topic for each in observed for topic in each.topics}
        changes = self._topics.changes(held, now)
        if changes.gone or changes.written:
            self._store.write_topics(changes.gone, changes.written)
        self._topics.written(changes, now)
        if changes.more:
            self._changed.set()

    def _write_queues(self) -> None:
        """They are inspected every few seconds only."""
        observed = (self._sources.depths(), self._sources.consumptions(), self._sources.mismatched())
        if observed == self._queues_written:
            return
        self._store.write_queues(*observed)
        self._queues_written = observed

    def _write_gaps(self) -> None:
        unwritten = self._gaps.unwritten()
        for start in range(0, len(unwritten), MAX_CHANGES):
            batch = unwritten[start : start + MAX_CHANGES]
            self._store.write_gaps(batch)
            self._gaps.written(batch)

    def _delivery(self) -> ingestors.DeliveryState:
        link = self._sources.link()
        trouble = self._sources.disk()
        return ingestors.DeliveryState(
            broker_connected=link.connected,
            broker_since=link.since,
            broker_reason=link.reason,
            lanes=self._progress.observe(self._sources.lanes(), datetime.now(UTC)),
            disk_trouble=trouble.reason if trouble else None,
            disk_since=trouble.since if trouble else None,
        )

    def _leave(self) -> None:
        """Others need not wait until our heartbeat is too old."""
        try:
            self._store.leave()
        except Exception as error:
            log.info("sign-off failed", error=str(error))

    def _measure(self, observed: Iterable[ObservedConnection]) -> None:
        BROKER_CONNECTED.set(self._sources.link().connected)
        for lane, counts in self._sources.lanes().items():
            for what in LaneCounts.__slots__:
                LANE.labels(lane, what).set(getattr(counts, what))
        for (endpoint, state), number in topics_by_state(observed).items():
            TOPICS.labels(endpoint, state).set(number)


class ConnectionSummary:
    """Logs once a minute what each connection received."""

    def __init__(self) -> None:
        self._due_at: float | None = None
        self._events: dict[tuple[str, int], int] = {}

    def log(self, observed: Iterable[ObservedConnection], now: float) -> None:
        """The first call starts the first minute; `now` is monotonic."""
        if self._due_at is None:
            self._due_at = now + SUMMARY_EVERY_S
        if now < self._due_at:
            return
        self._due_at = now + SUMMARY_EVERY_S
        for each in observed:
            key = (each.endpoint, each.number)
            events = sum(topic.events for topic in each.topics)
            received = max(0, events - self._events.get(key, 0))  # fewer when a topic has left
            self._events[key] = events
            states = {state: number for (_, state), number in topics_by_state([each]).items()}
            log.info("connection summary", endpoint=each.endpoint, socket_no=each.number, events=received, **states)


def topics_by_state(observed: Iterable[ObservedConnection]) -> Counter[tuple[str, str]]:
    """How many topics of each endpoint are in each state, zeros included."""
    found = Counter[tuple[str, str]]()
    for each in observed:
        found.update({(each.endpoint, state): 0 for state in ("live", "pending", "rejected")})
        found.update((each.endpoint, topic.state) for topic in each.topics)
    return found
