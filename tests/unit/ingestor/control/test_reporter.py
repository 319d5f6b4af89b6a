"""What the reporter writes, and when, with sources and a store that a test plays."""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from common.channels import of_topic
from common.errors import Unavailable
from common.lifecycle import start
from common.tables.ingestors import DeliveryState
from ingestor.bybit.states import State
from ingestor.control.report_store import queue_row
from ingestor.control.reporter import REPORT_EVERY_S, SUMMARY_EVERY_S, Reporter, ReportSources, topics_by_state
from ingestor.control.topic_reports import MAX_CHANGES, Key
from ingestor.delivery.broker_link import Link
from ingestor.delivery.disk_probe import Trouble
from ingestor.delivery.management import UNKNOWN, Consumption
from ingestor.delivery.outbox import LaneCounts
from ingestor.delivery.queue_alarms import FINE, Alarm, Level
from ingestor.delivery.queue_monitor import Depth
from ingestor.feed.gaps import Gap
from ingestor.observed import ObservedConnection, ObservedTopic
from tests.kit.waiting import eventually

SINCE = datetime(2026, 8, 9, 21, 26, 58, tzinfo=UTC)
BTC, ETH = of_topic("linear", "tickers.BTCUSDT"), of_topic("linear", "tickers.ETHUSDT")
QUEUE = "ws-gateway.ticker.model"


@dataclass
class FakeStore:
    """Keeps what is written; `writes` names the transactions, and `fails` those that do not succeed."""

    writes: list[str] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)
    generation: int = -1
    delivery: DeliveryState | None = None
    clock_offset_ms: float | None = None
    topics: dict[Key, ObservedTopic] = field(default_factory=dict)
    queues: tuple[Any, ...] = ()
    gaps: list[Gap] = field(default_factory=list)

    def write_heartbeat(
        self,
        generation: int,
        delivery: DeliveryState,
        observed: Sequence[ObservedConnection],
        clock_offset_ms: float | None,
        *,
        forget_earlier: bool,
    ) -> None:
        self._write("heartbeat and forget" if forget_earlier else "heartbeat")
        self.generation = generation
        self.delivery = delivery
        self.clock_offset_ms = clock_offset_ms

    def write_topics(self, gone: Sequence[Key], changed: Mapping[Key, ObservedTopic]) -> None:
        self._write("topics")
        self.topics = {key: topic for key, topic in (self.topics | dict(changed)).items() if key not in gone}

    def write_queues(
        self, depths: Mapping[str, Depth], consumptions: Mapping[str, Consumption], mismatched: Collection[str]
    ) -> None:
        self._write("queues")
        self.queues = (depths, consumptions, mismatched)

    def write_gaps(self, changed: Iterable[Gap]) -> None:
        self._write("gaps")
        self.gaps += changed

    def leave(self) -> None:
        self._write("leave")

    def written(self) -> list[str]:
        """Since the last call."""
        writes, self.writes = self.writes, []
        return writes

    def _write(self, what: str) -> None:
        if what in self.fails:
            raise Unavailable(what)
        self.writes.append(what)


@dataclass
class FakeGaps:
    waiting: list[Gap] = field(default_factory=list)

    def unwritten(self) -> list[Gap]:
        return list(self.waiting)

    def written(self, gaps: list[Gap]) -> None:
        assert gaps == self.waiting[: len(gaps)]
        self.waiting = self.waiting[len(gaps) :]


class World:
    """The sources, as they are now."""

    def __init__(self, every_s: float = REPORT_EVERY_S) -> None:
        self.topics: tuple[ObservedTopic, ...] = ()
        self.link = Link(connected=True, since=SINCE, reason="connected")
        self.depths: dict[str, Depth] = {}
        self.counts = LaneCounts(accepted=10, confirmed=4, dropped=1, spooled=2, in_flight=3)
        self.trouble: Trouble | None = None
        self.changed = threading.Event()
        self.store = FakeStore()
        self.gaps = FakeGaps()
        sources = ReportSources(
            sockets=self.observed,
            link=lambda: self.link,
            depths=lambda: dict(self.depths),
            consumptions=lambda: {QUEUE: Consumption(2.5, None)},
            mismatched=lambda: (QUEUE,),
            lanes=lambda: {"market": self.counts},
            disk=lambda: self.trouble,
            clock_offset_ms=lambda: 7.5,
        )
        self.reporter = Reporter(self.store, sources, self.gaps, self.changed, every_s)

    def observed(self) -> list[ObservedConnection]:
        return [ObservedConnection("linear", 0, State.LIVE, SINCE, 1, None, 3.0, SINCE, self.topics)]


@pytest.fixture
def world() -> World:
    return World()


def topic(state: str = "live", events: int = 0, channel: Any = BTC) -> ObservedTopic:
    return ObservedTopic(channel, state, None, None, None, events)


def depth(ready: int = 0, alarm: Alarm = FINE, name: str = QUEUE) -> Depth:
    return Depth(name, ready, consumers=1, net_rate=None, observed_at=0.0, alarm=alarm)


def gap(number: int) -> Gap:
    return Gap("linear", f"t{number}", "reset", number, None)


def test_a_report_holds_everything_that_is_observed(world: World):
    world.topics = (topic(),)
    world.depths = {QUEUE: depth()}
    world.gaps.waiting = [gap(1)]
    world.reporter.report(now=0.0)
    assert world.store.written() == ["heartbeat and forget", "topics", "queues", "gaps"]
    assert world.store.topics == {("linear", BTC.topic): topic()}
    assert world.store.queues == ({QUEUE: depth()}, {QUEUE: Consumption(2.5, None)}, (QUEUE,))
    assert world.store.clock_offset_ms == 7.5


def test_an_unchanged_observation_is_a_heartbeat(world: World):
    world.topics = (topic(),)
    world.reporter.report(now=0.0)
    world.store.written()
    world.reporter.report(now=1.0)
    assert world.store.written() == ["heartbeat"]


def test_a_heartbeat_says_how_the_broker_the_lanes_and_the_disk_are(world: World):
    world.link = Link(connected=False, since=SINCE, reason="blocked")
    world.trouble = Trouble("full", SINCE)
    world.reporter.report(now=0.0)
    delivery = world.store.delivery
    assert delivery is not None
    assert (delivery.broker_connected, delivery.broker_since, delivery.broker_reason) == (False, SINCE, "blocked")
    assert (delivery.disk_trouble, delivery.disk_since) == ("full", SINCE)
    assert delivery.lanes["market"]["waiting"] == 5


def test_a_disk_without_trouble_has_none(world: World):
    world.reporter.report(now=0.0)
    assert world.store.delivery is not None
    assert (world.store.delivery.disk_trouble, world.store.delivery.disk_since) == (None, None)


def test_the_newest_applied_generation_is_reported_at_once(world: World):
    world.reporter.applied(5)
    assert world.changed.is_set()
    world.changed.clear()
    world.reporter.applied(4)
    assert not world.changed.is_set()
    world.reporter.report(now=0.0)
    assert world.store.generation == 5
    assert REGISTRY.get_sample_value("wsgw_reconciled_generation") == 5


def test_a_topic_that_left_is_removed(world: World):
    world.topics = (topic(), topic(channel=ETH))
    world.reporter.report(now=0.0)
    world.topics = (topic(),)
    world.reporter.report(now=1.0)
    assert world.store.topics.keys() == {("linear", BTC.topic)}


def test_more_topics_than_one_write_holds_are_continued_at_once(world: World):
    channels = [of_topic("linear", f"tickers.S{number}USDT") for number in range(MAX_CHANGES + 1)]
    world.topics = tuple(topic(channel=channel) for channel in channels)
    world.reporter.report(now=0.0)
    assert len(world.store.topics) == MAX_CHANGES
    assert world.changed.is_set()
    world.changed.clear()
    world.reporter.report(now=0.0)
    assert len(world.store.topics) == MAX_CHANGES + 1
    assert not world.changed.is_set()


def test_queues_are_written_when_one_of_them_changed(world: World):
    world.depths = {QUEUE: depth(ready=1)}
    world.reporter.report(now=0.0)
    world.depths = {QUEUE: depth(ready=2)}
    world.reporter.report(now=1.0)
    assert world.store.written().count("queues") == 2
    assert world.store.queues[0] == {QUEUE: depth(ready=2)}


def test_gaps_are_written_in_batches_and_once(world: World):
    world.gaps.waiting = [gap(number) for number in range(MAX_CHANGES + 1)]
    world.reporter.report(now=0.0)
    world.reporter.report(now=1.0)
    assert world.store.written().count("gaps") == 2
    assert len(world.store.gaps) == MAX_CHANGES + 1
    assert world.gaps.waiting == []


@pytest.mark.parametrize("what", ["heartbeat", "topics", "queues", "gaps"])
def test_what_could_not_be_written_is_written_by_the_next_report(world: World, what: str):
    world.reporter.report(now=0.0)
    world.topics = (topic(),)
    world.depths = {QUEUE: depth()}
    world.gaps.waiting = [gap(1)]
    world.store.fails = {what}
    with pytest.raises(Unavailable):
        world.reporter.report(now=1.0)
    world.store.fails = set()
    world.reporter.report(now=2.0)
    assert world.store.topics == {("linear", BTC.topic): topic()}
    assert world.store.queues[0] == {QUEUE: depth()}
    assert world.store.gaps == [gap(1)]


def test_after_a_doubt_everything_is_written_again(world: World):
    world.topics = (topic(),)
    world.reporter.report(now=0.0)
    world.store.written()
    world.reporter.doubt()
    world.reporter.report(now=1.0)
    assert world.store.written() == ["heartbeat and forget", "topics", "queues"]


def test_a_heartbeat_does_not_wait_for_the_other_tables(world: World):
    world.topics = (topic(),)
    world.store.fails = {"topics"}
    with pytest.raises(Unavailable):
        world.reporter.report(now=0.0)
    assert world.store.written() == ["heartbeat and forget"]


def test_the_connections_are_summarised_once_a_minute(world: World):
    with capture_logs() as logged:
        for now, events in ((0.0, 100), (SUMMARY_EVERY_S - 1, 150), (SUMMARY_EVERY_S, 200), (2 * SUMMARY_EVERY_S, 230)):
            world.topics = (topic(events=events), topic("rejected", channel=ETH))
            world.reporter.report(now)
        world.topics = ()
        world.reporter.report(3 * SUMMARY_EVERY_S)
    assert [each["event"] for each in logged] == ["connection summary"] * 3
    assert [each["events"] for each in logged] == [200, 30, 0]
    assert (logged[0]["live"], logged[0]["rejected"], logged[0]["pending"]) == (1, 1, 0)


def test_every_state_is_counted_also_when_no_topic_is_in_it(world: World):
    world.topics = (topic(), topic("rejected", channel=ETH))
    assert topics_by_state(world.observed()) == {
        ("linear", "live"): 1,
        ("linear", "pending"): 0,
        ("linear", "rejected"): 1,
    }


def test_the_metrics_follow_the_observations(world: World):
    world.topics = (topic(),)
    world.link = Link(connected=False, since=SINCE, reason="blocked")
    world.reporter.report(now=0.0)
    assert REGISTRY.get_sample_value("wsgw_broker_connected") == 0
    assert REGISTRY.get_sample_value("wsgw_outbox_events", {"lane": "market", "what": "spooled"}) == 2
    assert REGISTRY.get_sample_value("wsgw_topics", {"endpoint": "linear", "state": "live"}) == 1


def test_the_thread_reports_a_change_at_once():
    world = World(every_s=600.0)
    worker = start(world.reporter)
    eventually(lambda: world.store.generation == 0, 20, "the first report")
    world.reporter.applied(7)
    eventually(lambda: world.store.generation == 7, 20, "it does not wait for the next regular report")
    worker.stop()
    world.changed.set()
    assert worker.ended(within_s=20)


def test_the_thread_reports_regularly_and_signs_off_at_the_stop():
    world = World(every_s=0.01)
    worker = start(world.reporter)
    eventually(lambda: world.store.writes.count("heartbeat") >= 2, 20, "it reports without a change")
    worker.stop()
    assert worker.ended(within_s=20)
    assert world.store.writes[-1] == "leave"


def test_the_thread_survives_an_unavailable_database(world: World):
    world.topics = (topic(),)
    world.store.fails = {"topics", "leave"}
    worker = start(world.reporter)
    eventually(lambda: world.store.writes.count("heartbeat and forget") >= 2, 20, "it has tried again")
    world.store.fails = {"leave"}
    eventually(lambda: world.store.topics, 20, "the topics are written")
    worker.stop()
    assert worker.ended(within_s=20)


@pytest.mark.parametrize(
    ("name", "event_class", "service"),
    [
        (QUEUE, "ticker", "model"),
        ("ws-gateway.ticker", "ticker", None),
        ("ws-gateway.dead", "dead", None),
    ],
)
def test_a_queue_s_row_names_its_class_and_service(name: str, event_class: str, service: str | None):
    row = queue_row(depth(name=name), UNKNOWN, other_arguments=False)
    assert (row.event_class, row.service) == (event_class, service)


def test_a_queue_s_row_has_its_alarm_unless_it_is_fine():
    row = queue_row(depth(ready=9, alarm=Alarm(Level.WARNING, "why")), Consumption(2.5, SINCE), other_arguments=True)
    assert (row.ready, row.alarm, row.reason, row.other_arguments) == (9, "warning", "why", True)
    assert (row.consume_rate, row.oldest_at, row.nobody_since) == (2.5, SINCE, None)
    assert queue_row(depth(), UNKNOWN, other_arguments=False).alarm is None
