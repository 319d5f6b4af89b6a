"""Reconciling with a store, a broker and a pool that a test plays."""

import gc
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from common.channels import FIXED, Channel, of_topic
from common.errors import Unavailable
from common.lifecycle import start
from common.notifications import Notification
from common.settings import Retention
from common.tables.subscriptions import Changed, DesiredSubscription
from ingestor.control.cache import SubscriptionCache
from ingestor.control.reconciler import RECONCILE_EVERY_S, RETRY_S, Reconciler
from ingestor.control.state_file import StateFile
from ingestor.delivery.plan import Plan
from tests.kit.waiting import eventually
from tests.unit.ingestor.control.fake_postgres import BTC, ETH, FakePostgres, row

WALLET = of_topic(*FIXED["balance"])
QUEUE = "ws-gateway.trades.model"


class World:
    """Also the broker's topology and the pool of connections."""

    def __init__(self, folder: Path, every_s: float = RECONCILE_EVERY_S) -> None:
        self.postgres = FakePostgres()
        self.cache = SubscriptionCache(StateFile(folder / "subscriptions.json"))
        self.broker_connected = True
        self.in_time = True
        self.own: Sequence[Channel] = ()
        self.plans: list[Plan] = []
        self.wanted: list[list[str]] = []
        self.held = 0
        self.applied: list[int] = []
        self.reconciler = Reconciler(
            store=self.postgres,
            queues=self,
            pool=self,
            broker_connected=lambda: self.broker_connected,
            held=self.on_held,
            applied=self.applied.append,
            cache=self.cache,
            retention=Retention(24, 100_000),
            market_queue_type="classic",
            own=lambda: self.own,
            every_s=every_s,
        )

    def make(self, plan: Plan, within_s: float) -> bool:
        self.plans.append(plan)
        return self.in_time

    def want(self, channels: Iterable[Channel]) -> None:
        self.wanted.append([channel.topic for channel in channels])

    def on_held(self) -> None:
        self.held += 1


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_queues_are_declared_topics_subscribed_and_the_generation_applied(world: World):
    world.postgres.put(BTC, ETH)
    assert world.reconciler.reconcile() == RECONCILE_EVERY_S
    assert [queue.name for queue in world.plans[-1].queues] == [QUEUE]
    assert world.wanted == [[BTC, ETH]]
    assert world.held == 1
    assert world.applied == [2]
    assert world.cache.last() == (row(BTC, 1), row(ETH, 2))


def test_ended_bindings_are_part_of_one_plan(world: World):
    world.postgres.put(BTC)
    world.reconciler.reconcile()
    world.postgres.end(BTC)
    world.reconciler.reconcile()
    assert {each.routing_key for each in world.plans[-1].unbound} >= {"trades.linear.BTCUSDT"}
    world.reconciler.reconcile()
    assert world.plans[-1].unbound == frozenset()
    assert world.wanted[-1] == []


def test_a_late_topology_subscribes_to_nothing_new_and_is_tried_again_soon(world: World):
    world.in_time = False
    world.postgres.put(BTC)
    with capture_logs() as logged:
        assert world.reconciler.reconcile() == RETRY_S
    assert [each["event"] for each in logged][-1] == "queues late, new topics are not subscribed yet"
    assert (world.wanted, world.held, world.applied) == ([], 0, [])
    world.in_time = True
    world.reconciler.reconcile()
    assert (world.wanted, world.applied) == ([[BTC]], [1])


def test_while_the_broker_is_unavailable_topics_are_held_and_not_applied(world: World):
    world.in_time = world.broker_connected = False
    world.postgres.put(BTC)
    assert world.reconciler.reconcile() == RECONCILE_EVERY_S
    assert (world.wanted, world.held, world.applied) == ([[BTC]], 1, [])
    world.postgres.end(BTC)
    world.reconciler.reconcile()
    world.reconciler.reconcile()
    assert world.plans[-1].unbound, "what ended stays in the plan until the broker has it"


def test_the_next_lease_may_be_due_before_the_next_regular_read(world: World):
    world.postgres.lease_ends_in_s = 2.5
    assert world.reconciler.reconcile() == 2.5
    world.postgres.lease_ends_in_s = 60.0
    assert world.reconciler.reconcile() == RECONCILE_EVERY_S


def test_our_own_channels_are_wanted_once_with_all_others(world: World):
    world.own = (WALLET,)
    wallet = DesiredSubscription("model", WALLET.endpoint, WALLET.topic, 1, None)
    world.postgres.rows[WALLET.topic] = Changed(wallet, None)
    world.postgres.put(BTC)
    world.reconciler.reconcile()
    assert world.wanted == [[WALLET.topic, BTC]]


def test_an_unavailable_postgres_starts_from_the_cache(world: World):
    world.cache.keep([row(BTC, 7)])
    world.own = (WALLET,)
    world.postgres.available = False
    with capture_logs() as logged:
        world.reconciler.start()
    assert world.wanted == [[WALLET.topic], [WALLET.topic, BTC]]
    assert [queue.name for queue in world.plans[-1].queues] == [QUEUE]
    assert world.held == 0, "the cache may lack topics"
    assert world.applied == [0]
    assert [each["event"] for each in logged][-1] == "postgres unavailable, subscriptions read from cache"


def test_an_empty_cache_declares_nothing(world: World):
    world.postgres.available = False
    world.reconciler.start()
    assert world.plans == []


def test_what_the_cache_had_in_excess_ends_when_postgres_answers(world: World):
    world.cache.keep([row(BTC, 7)])
    world.postgres.available = False
    world.reconciler.start()
    world.postgres.available = True
    world.postgres.put(ETH)
    world.reconciler.reconcile()
    assert world.wanted[-1] == [ETH]
    assert world.held == 1


def test_an_unavailable_postgres_is_not_hidden(world: World):
    world.postgres.available = False
    with pytest.raises(Unavailable):
        world.reconciler.reconcile()
    assert world.plans == []


def test_a_notification_ends_the_wait_and_so_do_all_that_arrived_with_it(world: World):
    stop = threading.Event()
    for number in range(3):
        world.reconciler.notify(Notification(number, "trace"))
    with capture_logs() as logged:
        world.reconciler.wait(stop, within_s=60.0)
        world.reconciler.wait(stop, within_s=0.01)
    assert [(each["event"], each["generation"]) for each in logged] == [("notification received", 0)]


def test_a_stop_ends_the_wait(world: World):
    stop = threading.Event()
    stop.set()
    world.reconciler.wait(stop, within_s=60.0)
    world.reconciler.wait(threading.Event(), within_s=0.0)


class RememberedNotification(Notification):
    """One that a weak reference can observe."""


def test_of_a_flood_of_notifications_a_thousand_are_kept(world: World):
    notifications = [RememberedNotification(number, None) for number in range(1_001)]
    first, last = weakref.ref(notifications[0]), weakref.ref(notifications[-1])
    for notification in notifications:
        world.reconciler.notify(notification)
    del notification, notifications
    gc.collect()
    assert (first() is not None, last() is not None) == (True, False)


def test_the_thread_reconciles_after_a_notification(tmp_path: Path):
    world = World(tmp_path, every_s=600.0)
    worker = start(world.reconciler)
    eventually(lambda: world.applied, 20, "it has started")
    world.postgres.put(BTC)
    world.reconciler.notify(Notification(1, None))
    eventually(lambda: world.applied[-1] == 1, 20, "it did not wait for the next regular time")
    worker.stop()
    assert worker.ended(within_s=20)


def test_the_thread_reconciles_regularly(tmp_path: Path):
    world = World(tmp_path, every_s=0.01)
    worker = start(world.reconciler)
    eventually(lambda: len(world.applied) >= 3, 20, "without a notification")
    worker.stop()
    assert worker.ended(within_s=20)


def test_a_second_start_of_the_thread_gives_up_nothing(world: World):
    world.own = (WALLET,)
    world.postgres.put(BTC)
    worker = start(world.reconciler)
    eventually(lambda: world.applied, 20, "it has started")
    world.postgres.fails_with = RuntimeError("not foreseen")
    world.reconciler.notify(Notification(1, None))
    eventually(lambda: world.postgres.fails_with is None, 20, "it failed")
    wanted = len(world.wanted)
    eventually(lambda: len(world.wanted) > wanted, 20, "it continues")
    worker.stop()
    assert worker.ended(within_s=20)
    assert [WALLET.topic] not in world.wanted[1:]


def test_the_thread_waits_while_postgres_is_unavailable(world: World):
    world.postgres.available = False
    worker = start(world.reconciler)
    eventually(lambda: world.postgres.snapshots >= 2, 20, "it has tried")
    world.postgres.available = True
    eventually(lambda: world.applied, 20, "it is applied")
    worker.stop()
    assert worker.ended(within_s=20)
