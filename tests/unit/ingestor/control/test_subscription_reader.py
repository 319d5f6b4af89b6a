"""What the reconciler reads of Postgres, in which situation."""

import pytest
from structlog.testing import capture_logs

from common.errors import Unavailable
from common.settings import Retention
from ingestor.control.desired_state import DesiredState
from ingestor.control.subscription_reader import MAX_CHANGES, SubscriptionReader
from tests.unit.ingestor.control.fake_postgres import BTC, ETH, FakePostgres

QUEUE = "ws-gateway.trades.model"


class World:
    def __init__(self) -> None:
        self.postgres = FakePostgres()
        self.desired = DesiredState(Retention(24, 100_000), "classic")
        self.reader = SubscriptionReader(self.postgres, self.desired)

    def topics(self) -> set[str]:
        return {topic for _, topic in self.desired.channels()}

    def unbound(self) -> set[str]:
        return {binding.routing_key for binding in self.desired.plan().unbound}


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_read_takes_all_that_is_active(world: World):
    world.postgres.put(BTC, ETH)
    world.postgres.end(ETH)
    world.reader.read()
    assert world.topics() == {BTC}
    assert world.reader.complete
    assert world.reader.generation == 3
    assert world.postgres.expired == 1


def test_later_reads_take_the_changes_only(world: World):
    world.postgres.put(BTC)
    world.reader.read()
    world.postgres.read()
    world.postgres.put(ETH)
    world.postgres.end(BTC)
    world.reader.read()
    assert world.topics() == {ETH}
    assert world.postgres.read() == ["changed after 1"]
    world.reader.read()
    assert world.postgres.read() == ["changed after 3"]


def test_changes_are_logged_with_their_event(world: World):
    world.reader.read()
    world.postgres.put(BTC, ETH)
    world.postgres.end(BTC)
    with capture_logs() as logged:
        world.reader.read()
    assert [(each["event"], each["topic"]) for each in logged] == [
        ("subscription activated", ETH),
        ("subscription ended", BTC),
    ]


def test_many_changes_are_read_in_batches_without_a_pause(world: World):
    world.reader.read()
    world.postgres.put(*(f"publicTrade.S{number}USDT" for number in range(MAX_CHANGES + 1)))
    assert world.reader.read() == 0.0
    assert len(world.topics()) == MAX_CHANGES
    assert world.reader.generation == MAX_CHANGES
    assert world.reader.read() is None
    assert len(world.topics()) == MAX_CHANGES + 1


def test_the_next_read_is_due_when_the_next_lease_ends(world: World):
    assert world.reader.read() is None
    world.postgres.lease_ends_in_s = 2.5
    assert world.reader.read() == 2.5


def test_everything_is_read_again_after_postgres_was_unavailable(world: World):
    world.postgres.put(BTC, ETH)
    world.reader.read()
    world.postgres.available = False
    with pytest.raises(Unavailable):
        world.reader.read()
    assert not world.reader.complete
    world.postgres.available = True
    world.postgres.rows.pop(BTC)  # another server: nothing there says that it ended
    world.postgres.put("publicTrade.XRPUSDT")
    world.reader.read()
    assert world.topics() == {ETH, "publicTrade.XRPUSDT"}
    assert world.reader.complete


def test_an_older_postgres_ends_nothing(world: World):
    world.postgres.put(BTC, ETH)
    world.reader.read()
    world.postgres.rows = {}
    world.postgres.generation = 0
    world.postgres.put("publicTrade.XRPUSDT")
    with capture_logs() as logged:
        world.reader.read()
    assert world.topics() == {BTC, ETH, "publicTrade.XRPUSDT"}
    assert [each["event"] for each in logged] == ["postgres is older than the ingestor, subscriptions kept"]
    assert "continue above 2" in world.postgres.read()


def test_a_change_of_an_older_postgres_counts_once_its_generation_is_above_ours(world: World):
    world.postgres.put(BTC, ETH)
    world.reader.read()
    world.postgres.rows.pop(ETH)
    world.postgres.generation = 1
    world.reader.read()
    world.postgres.end(BTC)
    world.reader.read()
    assert world.topics() == {ETH}


def test_an_older_postgres_after_an_outage_counts_as_read(world: World):
    world.postgres.put(BTC, ETH)
    world.reader.read()
    world.postgres.available = False
    with pytest.raises(Unavailable):
        world.reader.read()
    world.postgres.available = True
    world.postgres.generation = 1
    world.reader.read()
    assert world.reader.complete
    assert world.topics() == {BTC, ETH}


class StuckPostgres(FakePostgres):
    """Does not accept a higher generation, as a standby."""

    def continue_above(self, generation: int) -> None:
        self.reads.append("refused")


def test_an_older_postgres_is_read_once_while_it_does_not_change(world: World):
    world.postgres = StuckPostgres()
    world.reader = SubscriptionReader(world.postgres, world.desired)
    world.postgres.put(BTC, ETH)
    world.reader.read()
    world.postgres.generation = 1
    world.reader.read()
    world.postgres.read()
    world.reader.read()
    assert world.postgres.read() == []
    world.postgres.generation = 0
    world.reader.read()
    assert "active" in world.postgres.read()


def test_bindings_that_ended_since_an_earlier_run_are_removed(world: World):
    world.postgres.put(BTC, ETH)
    world.postgres.end(BTC)
    world.postgres.applied = 3
    world.postgres.end(ETH)
    world.reader.read()
    assert world.unbound() == {"trades.linear.ETHUSDT", "gap.trades.linear.ETHUSDT"}
    assert {unused.name for unused in world.desired.plan().unused} == {QUEUE}


def test_without_an_earlier_run_nothing_is_bound(world: World):
    world.postgres.put(BTC)
    world.postgres.end(BTC)
    world.reader.read()
    assert world.unbound() == set()


def test_our_own_applied_generation_counts_more_than_that_of_earlier_runs(world: World):
    world.postgres.put(BTC)
    world.reader.read()
    world.reader.applied_generation = 1
    world.reader.complete = False
    world.postgres.read()
    world.reader.read()
    assert world.postgres.read() == ["active", "ended after 1"]


class InTransaction(DesiredState):
    """Fails when it is changed while the transaction is open."""

    postgres: FakePostgres

    def replace(self, desired: object) -> None:
        assert not self.postgres.in_transaction

    def change(self, changed: object) -> None:
        assert not self.postgres.in_transaction


def test_the_desired_state_changes_after_the_transaction(world: World):
    desired = InTransaction(Retention(24, 100_000), "classic")
    desired.postgres = world.postgres
    world.postgres.put(BTC)
    reader = SubscriptionReader(world.postgres, desired)
    reader.read()
    reader.read()
