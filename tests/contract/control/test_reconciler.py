"""Applying the subscriptions of a real Postgres to a broker and a pool that only record."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from common import database as databases
from common import settings
from common.channels import Channel, of_topic
from common.lifecycle import start
from common.notifications import Notification
from common.settings import Environment
from common.tables import ingestors, subscriptions
from common.tables.ingestors import DeliveryState
from common.tables.subscriptions import Caps, Counted
from ingestor.control.cache import SubscriptionCache
from ingestor.control.reconciler import Reconciler
from ingestor.control.state_file import StateFile
from ingestor.control.subscription_reader import MAX_CHANGES
from ingestor.control.subscription_store import PostgresSubscriptions
from ingestor.delivery.plan import Plan
from tests.kit.servers import Database
from tests.kit.waiting import eventually

TRADES = of_topic("linear", "publicTrade.BTCUSDT")
BOOK = of_topic("linear", "orderbook.50.BTCUSDT")


@dataclass
class FakeDelivery:
    """A broker and a pool that record what they receive; `up` says whether the broker is connected."""

    up: bool = True
    plans: list[Plan] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    applied: list[int] = field(default_factory=list)
    fails: bool = False
    given_up: bool = False  # something that was wanted was not any more

    def make(self, plan: Plan, within_s: float) -> bool:
        if self.fails:
            self.fails = False
            raise RuntimeError("not foreseen")
        self.plans.append(plan)
        return self.up

    def want(self, channels: Iterable[Channel]) -> None:
        before, self.wanted = self.wanted, [channel.topic for channel in channels]
        self.given_up |= not set(before) <= set(self.wanted)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    made = databases.engine(settings.postgres(Environment(database.environ())), "intents tests", pool_size=4)
    yield made
    made.dispose()


@pytest.fixture
def delivery() -> FakeDelivery:
    return FakeDelivery()


@pytest.fixture
def running(engine: Engine, delivery: FakeDelivery, tmp_path: Path) -> Iterator[Reconciler]:
    with started(engine, delivery, tmp_path) as found:
        yield found


@contextmanager
def started(engine: Engine, delivery: FakeDelivery, tmp_path: Path) -> Iterator[Reconciler]:
    found = Reconciler(
        store=PostgresSubscriptions(engine),
        queues=delivery,
        pool=delivery,
        broker_connected=lambda: delivery.up,
        held=lambda: None,
        applied=delivery.applied.append,
        cache=SubscriptionCache(StateFile(tmp_path / "subscriptions.json")),
        retention=settings.Retention(24, 100_000),
        market_queue_type="classic",
        own=lambda: (),
    )
    at_work = start(found)
    try:
        yield found
    finally:
        at_work.stop()
        assert at_work.ended(within_s=10)


def subscription(engine: Engine, channels: Sequence[Channel], lease_s: int | None = None) -> int:
    """Add subscriptions; returns the generation of the last one."""
    with engine.begin() as connection:
        caps, unknown = Caps(100, 100), Counted(100, 0)
        [change] = subscriptions.add(connection, channels, "model", lease_s, "trace", caps, unknown)
    return change.generation


def active(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [each.topic for each in subscriptions.active(connection)]


def test_a_subscription_is_applied_when_its_queue_exists(engine: Engine, delivery: FakeDelivery, running: Reconciler):
    generation = subscription(engine, [TRADES])
    assert eventually(lambda: generation in delivery.applied, 10, "it is applied")
    assert delivery.wanted == [TRADES.topic]
    assert any(queue.name == "ws-gateway.trades.model" for queue in delivery.plans[-1].queues)


def test_while_the_broker_is_unavailable_a_topic_is_held_and_its_subscription_not_applied(
    engine: Engine, delivery: FakeDelivery, running: Reconciler
):
    delivery.up = False
    generation = subscription(engine, [TRADES])
    assert eventually(lambda: delivery.wanted == [TRADES.topic], 10, "it is held")
    assert generation not in delivery.applied
    delivery.up = True
    assert eventually(lambda: generation in delivery.applied, 10, "it is applied")


def test_a_failure_gives_up_nothing_that_is_held(engine: Engine, delivery: FakeDelivery, running: Reconciler):
    generation = subscription(engine, [TRADES])
    assert eventually(lambda: generation in delivery.applied, 10, "it is applied")
    delivery.fails = True
    running.notify(Notification(0, None))
    assert eventually(lambda: not delivery.fails, 20, "it failed")
    generation = subscription(engine, [BOOK])
    assert eventually(lambda: generation in delivery.applied, 20, "it goes on")
    assert not delivery.given_up


def test_a_lease_ends_when_it_is_over_and_not_seconds_later(
    engine: Engine, delivery: FakeDelivery, running: Reconciler
):
    subscription(engine, [TRADES], lease_s=6)
    assert eventually(lambda: delivery.wanted == [TRADES.topic], 10, "it is held")
    with engine.connect() as connection:
        left_s = subscriptions.next_lease_ends_in_s(connection)
    assert left_s is not None
    assert eventually(lambda: active(engine) == [], left_s + 1, "it ended within a second")
    assert eventually(lambda: delivery.wanted == [], 1, "the topic is given up")


def end(engine: Engine, topic: str) -> int:
    """End a subscription; returns the generation of that."""
    with engine.begin() as connection:
        [row] = subscriptions.held(connection, [of_topic("linear", topic)], "model")
        [change] = subscriptions.cancel(connection, [row], None)
    return change.generation


def applied_before(engine: Engine, generation: int) -> None:
    """By an earlier run of the ingestor."""
    link = DeliveryState(True, datetime.now(UTC), "", {}, None, None)
    with engine.begin() as connection:
        ingestors.beat(connection, epoch="01H", host="h", role="left", generation=generation, delivery=link)


def unbound(delivery: FakeDelivery) -> set[str]:
    return {binding.routing_key for plan in delivery.plans for binding in plan.unbound}


def test_changes_are_applied_one_after_the_other(engine: Engine, delivery: FakeDelivery, running: Reconciler):
    eth = of_topic("linear", "publicTrade.ETHUSDT")
    first = subscription(engine, [TRADES])
    assert eventually(lambda: first in delivery.applied, 10, "the first is applied")
    second = subscription(engine, [eth])
    running.notify(Notification(second, None))
    assert eventually(lambda: delivery.wanted == [TRADES.topic, eth.topic], 10, "both are held")
    ended = end(engine, TRADES.topic)
    running.notify(Notification(ended, None))
    assert eventually(lambda: ended in delivery.applied, 10, "the end is applied")
    assert delivery.wanted == [eth.topic]
    assert TRADES.routing_key in unbound(delivery)
    assert [each.name for each in delivery.plans[-1].queues] == ["ws-gateway.trades.model"]


def test_an_older_postgres_ends_nothing_and_later_changes_count(
    engine: Engine, delivery: FakeDelivery, running: Reconciler
):
    first = [subscription(engine, [TRADES]), end(engine, TRADES.topic), subscription(engine, [TRADES])]
    eventually(lambda: first[-1] in delivery.applied, 10, "it is applied")
    with engine.begin() as connection:  # as a backup from before the first of them
        connection.execute(text("DELETE FROM subscriptions"))
        connection.execute(text("ALTER SEQUENCE subscription_generation RESTART"))
    subscription(engine, [BOOK])
    running.notify(Notification(0, None))
    eventually(lambda: BOOK.topic in delivery.wanted, 10, "what the older one has is subscribed")
    assert TRADES.topic in delivery.wanted
    last = end(engine, BOOK.topic)
    running.notify(Notification(last, None))
    assert last > first[-1]
    eventually(lambda: delivery.wanted == [TRADES.topic], 10, "an ended row ends a subscription")


def test_what_an_earlier_run_unbound_is_not_unbound_again(engine: Engine, delivery: FakeDelivery, tmp_path: Path):
    subscription(engine, [TRADES])
    applied_before(engine, end(engine, TRADES.topic))
    other = of_topic("linear", "publicTrade.ETHUSDT")
    subscription(engine, [other])
    ended = end(engine, other.topic)
    with started(engine, delivery, tmp_path):
        assert eventually(lambda: ended in delivery.applied, 10, "what ended since is applied")
    assert unbound(delivery) == {other.routing_key, other.gap_key}


def test_queues_that_became_unused_in_an_earlier_run_are_known(engine: Engine, delivery: FakeDelivery, tmp_path: Path):
    subscription(engine, [TRADES])
    applied_before(engine, end(engine, TRADES.topic))
    with started(engine, delivery, tmp_path):
        assert eventually(lambda: delivery.plans, 10, "there is a plan")
    assert [each.name for each in delivery.plans[-1].unused] == ["ws-gateway.trades.model"]


def test_many_leases_that_end_together_are_ended_at_once(engine: Engine, delivery: FakeDelivery, running: Reconciler):
    many = [of_topic("linear", f"publicTrade.S{number}USDT") for number in range(2_500)]
    with engine.begin() as connection:
        caps, unknown = Caps(10_000, 10_000), Counted(10_000, 0)
        subscriptions.add(connection, many, "model", 5, "trace", caps, unknown)
    running.notify(Notification(0, None))
    assert eventually(lambda: len(delivery.wanted) == len(many), 10, "all are held")
    assert eventually(lambda: delivery.wanted == [], 10, "all are given up")
    assert active(engine) == []


def test_more_changes_than_are_read_at_once_are_all_applied(
    engine: Engine, delivery: FakeDelivery, running: Reconciler
):
    assert eventually(lambda: delivery.plans, 10, "it has begun")
    many = [of_topic("linear", f"publicTrade.S{number}USDT") for number in range(2 * MAX_CHANGES + 1)]
    with engine.begin() as connection:
        caps, unknown = Caps(20_000, 20_000), Counted(20_000, 0)
        last = subscriptions.add(connection, many, "model", None, "trace", caps, unknown)[-1].generation
    running.notify(Notification(last, None))
    assert eventually(lambda: last in delivery.applied, 20, "the last is applied")
    assert len(delivery.wanted) == len(many)
