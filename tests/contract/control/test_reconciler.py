"""Carrying out what is written in a real Postgres, with a broker and an exchange that only listen."""

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
from common.lifecycle import Crew
from common.notifications import Notification
from common.settings import Environment
from common.tables import ingestors, subscriptions
from common.tables.ingestors import Delivery
from common.tables.subscriptions import Caps, Counted
from ingestor.control.cache import SubscriptionCache
from ingestor.control.reconciler import CHANGED_AT_ONCE, Reconciler
from ingestor.control.state_file import StateFile
from ingestor.delivery.plan import Plan
from tests.kit.servers import Database
from tests.kit.waiting import eventually

TRADES = of_topic("linear", "publicTrade.BTCUSDT")
BOOK = of_topic("linear", "orderbook.50.BTCUSDT")


@dataclass
class Surroundings:
    """Remember what they are told; `up` says whether the broker is."""

    up: bool = True
    plans: list[Plan] = field(default_factory=list)
    wanted: list[str] = field(default_factory=list)
    carried_out: list[int] = field(default_factory=list)
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
def around() -> Surroundings:
    return Surroundings()


@pytest.fixture
def running(engine: Engine, around: Surroundings, tmp_path: Path) -> Iterator[Reconciler]:
    with started(engine, around, tmp_path) as found:
        yield found


@contextmanager
def started(engine: Engine, around: Surroundings, tmp_path: Path) -> Iterator[Reconciler]:
    found = Reconciler(
        engine=engine,
        queues=around,
        pool=around,
        broker_connected=lambda: around.up,
        held=lambda: None,
        carried_out=around.carried_out.append,
        cache=SubscriptionCache(StateFile(tmp_path / "subscriptions.json")),
        retention=settings.Retention(24, 100_000),
        market_queue_type="classic",
        own=lambda: (),
    )
    at_work = Crew().start(found)
    try:
        yield found
    finally:
        at_work.stop()
        assert at_work.ended(within_s=10)


def subscription(engine: Engine, channels: Sequence[Channel], lease_s: int | None = None) -> int:
    """The generation that it got."""
    with engine.begin() as connection:
        caps, unknown = Caps(100, 100), Counted(100, 0)
        [change] = subscriptions.add(connection, channels, "model", lease_s, "trace", caps, unknown)
    return change.generation


def active(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [each.topic for each in subscriptions.active(connection)]


def test_a_subscription_is_carried_out_when_its_queue_is_made(
    engine: Engine, around: Surroundings, running: Reconciler
):
    generation = subscription(engine, [TRADES])
    assert eventually(lambda: generation in around.carried_out, 10, "it is carried out")
    assert around.wanted == [TRADES.topic]
    assert any(queue.name == "ws-gateway.trades.model" for queue in around.plans[-1].queues)


def test_while_the_broker_is_away_a_topic_is_held_and_its_subscription_not_carried_out(
    engine: Engine, around: Surroundings, running: Reconciler
):
    around.up = False
    generation = subscription(engine, [TRADES])
    assert eventually(lambda: around.wanted == [TRADES.topic], 10, "it is held")
    assert generation not in around.carried_out
    around.up = True
    assert eventually(lambda: generation in around.carried_out, 10, "it is carried out")


def test_a_failure_gives_up_nothing_that_is_held(engine: Engine, around: Surroundings, running: Reconciler):
    generation = subscription(engine, [TRADES])
    assert eventually(lambda: generation in around.carried_out, 10, "it is carried out")
    around.fails = True
    running.notify(Notification(0, None))
    assert eventually(lambda: not around.fails, 20, "it failed")
    generation = subscription(engine, [BOOK])
    assert eventually(lambda: generation in around.carried_out, 20, "it goes on")
    assert not around.given_up


def test_a_lease_ends_when_it_is_over_and_not_at_the_next_look(
    engine: Engine, around: Surroundings, running: Reconciler
):
    subscription(engine, [TRADES], lease_s=6)
    assert eventually(lambda: around.wanted == [TRADES.topic], 10, "it is held")
    with engine.connect() as connection:
        left_s = subscriptions.next_lease_ends_in_s(connection)
    assert left_s is not None
    assert eventually(lambda: active(engine) == [], left_s + 1, "it ended within a second")
    assert eventually(lambda: around.wanted == [], 1, "the topic is given up")


def end(engine: Engine, topic: str) -> int:
    """The generation that its end got."""
    with engine.begin() as connection:
        [row] = subscriptions.held(connection, [of_topic("linear", topic)], "model")
        [change] = subscriptions.cancel(connection, [row], None)
    return change.generation


def carried_out_before(engine: Engine, generation: int) -> None:
    """By an earlier life of the ingestor."""
    delivery = Delivery(True, datetime.now(UTC), "", {}, None, None)
    with engine.begin() as connection:
        ingestors.beat(connection, epoch="01H", host="h", role="left", generation=generation, delivery=delivery)


def unbound(around: Surroundings) -> set[str]:
    return {binding.routing_key for plan in around.plans for binding in plan.unbound}


def test_changes_are_carried_out_one_after_the_other(engine: Engine, around: Surroundings, running: Reconciler):
    eth = of_topic("linear", "publicTrade.ETHUSDT")
    first = subscription(engine, [TRADES])
    assert eventually(lambda: first in around.carried_out, 10, "the first is carried out")
    second = subscription(engine, [eth])
    running.notify(Notification(second, None))
    assert eventually(lambda: around.wanted == [TRADES.topic, eth.topic], 10, "both are held")
    ended = end(engine, TRADES.topic)
    running.notify(Notification(ended, None))
    assert eventually(lambda: ended in around.carried_out, 10, "the end is carried out")
    assert around.wanted == [eth.topic]
    assert TRADES.routing_key in unbound(around)
    assert [each.name for each in around.plans[-1].queues] == ["ws-gateway.trades.model"]


def test_an_older_answer_gives_up_nothing_and_later_changes_count(
    engine: Engine, around: Surroundings, running: Reconciler
):
    first = [subscription(engine, [TRADES]), end(engine, TRADES.topic), subscription(engine, [TRADES])]
    eventually(lambda: first[-1] in around.carried_out, 10, "it is carried out")
    with engine.begin() as connection:  # as a backup from before the first of them
        connection.execute(text("DELETE FROM subscriptions"))
        connection.execute(text("ALTER SEQUENCE subscription_generation RESTART"))
    subscription(engine, [BOOK])
    running.notify(Notification(0, None))
    eventually(lambda: BOOK.topic in around.wanted, 10, "what the older one has is taken up")
    assert TRADES.topic in around.wanted
    last = end(engine, BOOK.topic)
    running.notify(Notification(last, None))
    assert last > first[-1]
    eventually(lambda: around.wanted == [TRADES.topic], 10, "a row that says so ends a subscription")


def test_what_an_earlier_life_unbound_is_not_unbound_again(engine: Engine, around: Surroundings, tmp_path: Path):
    subscription(engine, [TRADES])
    carried_out_before(engine, end(engine, TRADES.topic))
    other = of_topic("linear", "publicTrade.ETHUSDT")
    subscription(engine, [other])
    ended = end(engine, other.topic)
    with started(engine, around, tmp_path):
        assert eventually(lambda: ended in around.carried_out, 10, "what ended since is carried out")
    assert unbound(around) == {other.routing_key, other.gap_key}


def test_queues_that_became_unused_in_an_earlier_life_are_known(engine: Engine, around: Surroundings, tmp_path: Path):
    subscription(engine, [TRADES])
    carried_out_before(engine, end(engine, TRADES.topic))
    with started(engine, around, tmp_path):
        assert eventually(lambda: around.plans, 10, "there is a plan")
    assert [each.name for each in around.plans[-1].unused] == ["ws-gateway.trades.model"]


def test_many_leases_that_end_together_are_ended_at_once(engine: Engine, around: Surroundings, running: Reconciler):
    many = [of_topic("linear", f"publicTrade.S{number}USDT") for number in range(2_500)]
    with engine.begin() as connection:
        caps, unknown = Caps(10_000, 10_000), Counted(10_000, 0)
        subscriptions.add(connection, many, "model", 5, "trace", caps, unknown)
    running.notify(Notification(0, None))
    assert eventually(lambda: len(around.wanted) == len(many), 10, "all are held")
    assert eventually(lambda: around.wanted == [], 10, "all are given up")
    assert active(engine) == []


def test_more_changes_than_are_read_at_once_are_all_carried_out(
    engine: Engine, around: Surroundings, running: Reconciler
):
    assert eventually(lambda: around.plans, 10, "it has begun")
    many = [of_topic("linear", f"publicTrade.S{number}USDT") for number in range(2 * CHANGED_AT_ONCE + 1)]
    with engine.begin() as connection:
        caps, unknown = Caps(20_000, 20_000), Counted(20_000, 0)
        last = subscriptions.add(connection, many, "model", None, "trace", caps, unknown)[-1].generation
    running.notify(Notification(last, None))
    assert eventually(lambda: last in around.carried_out, 20, "the last is carried out")
    assert len(around.wanted) == len(many)
