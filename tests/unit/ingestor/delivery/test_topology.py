"""Queues and bindings on a broker that a test plays."""

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from common import topology as names
from common.errors import Unavailable
from common.lifecycle import start
from common.settings import RabbitMQ
from common.topology import Binding, Queue
from ingestor.delivery.amqp_topology import InspectedQueue, QueueDeclared, QueueUnreachable
from ingestor.delivery.declarations import Declarations
from ingestor.delivery.plan import Plan, Unused
from ingestor.delivery.queue_alarms import Level
from ingestor.delivery.queue_inspection import ROUND_EVERY_S
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.topology import Topology
from tests.kit.waiting import eventually

RABBITMQ = RabbitMQ((("one", 5672),), "user", "password", "/", False, "", None)
NAME, KEY = "ws-gateway.trades.model", "trades.linear.BTCUSDT"
QUEUE = Queue(NAME, {"x-max-length": 100})
BINDING = Binding(NAME, names.EVENTS, KEY)
COMMON = Plan((Queue("ws-gateway.trades", {}),), frozenset({Binding("ws-gateway.trades", names.EVENTS, "trades.#")}))
PLAN = Plan((QUEUE,), frozenset({BINDING}))


@dataclass
class FakeBroker:
    """Queues with their arguments, and bindings; `requests` lists what was requested of it."""

    queues: dict[str, dict[str, Any]] = field(default_factory=dict)
    bindings: set[Binding] = field(default_factory=set)
    ready: dict[str, int] = field(default_factory=dict)
    consumers: dict[str, int] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)  # queues whose node is down
    requests: list[str] = field(default_factory=list)
    failures: int = 0  # how many of the next declares fail
    closed: int = 0
    events_processed: int = 0

    def declare_exchanges(self) -> None:
        self.requests.append("exchanges")

    def declare(self, queue: Queue) -> QueueDeclared | QueueUnreachable:
        self.requests.append(f"declare {queue.name}")
        if self.failures:
            self.failures -= 1
            raise Unavailable("connection lost")
        if queue.name in self.down:
            return QueueUnreachable("node is down")
        if self.queues.setdefault(queue.name, queue.arguments) != queue.arguments:
            return QueueDeclared(mismatch="inequivalent arg 'x-max-length'")
        return QueueDeclared()

    def inspect(self, name: str) -> InspectedQueue | None:
        self.requests.append(f"inspect {name}")
        if name in self.down or name not in self.queues:
            return None
        return InspectedQueue(self.ready.get(name, 0), self.consumers.get(name, 1))

    def delete(self, name: str) -> None:
        del self.queues[name]
        self.bindings = {each for each in self.bindings if each.queue != name}

    def bind(self, bindings: Sequence[Binding]) -> None:
        assert {each.queue for each in bindings} <= self.queues.keys()
        self.requests += [f"bind {each.queue} {each.routing_key}" for each in bindings]
        self.bindings.update(bindings)

    def unbind(self, bindings: Sequence[Binding]) -> None:
        self.requests += [f"unbind {each.queue} {each.routing_key}" for each in bindings]
        self.bindings.difference_update(bindings)

    def process_events(self) -> None:
        self.events_processed += 1

    def close(self) -> None:
        self.closed += 1

    def requested(self) -> list[str]:
        """Since the last call."""
        requests, self.requests = self.requests, []
        return requests


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.broker = FakeBroker()
        self.traffic = Traffic()
        self.topology = Topology(
            RABBITMQ, COMMON, self.traffic, connect=lambda _: self.broker, listen_s=0.0, clock=lambda: self.now
        )
        self.apply(Plan())
        self.broker.requested()

    def apply(self, plan: Plan) -> None:
        self.topology.make(plan, within_s=0.0)
        self.topology.step(self.broker)

    def pass_round(self) -> None:
        """Inspect all queues once."""
        self.now += ROUND_EVERY_S
        for _ in range(1 + len(self.broker.queues) // 100):
            self.topology.step(self.broker)


@pytest.fixture
def world() -> World:
    return World()


class RememberedPlan(Plan):
    """A plan that a weak reference can observe."""


def test_only_the_newest_plan_is_kept_while_the_broker_is_unavailable():
    topology = Topology(RABBITMQ, Plan(), Traffic())
    plans = [RememberedPlan() for _ in range(3)]
    kept = [weakref.ref(plan) for plan in plans]
    for plan in plans:
        assert not topology.make(plan, within_s=0.0)
    del plan, plans
    gc.collect()
    assert [ref() is not None for ref in kept] == [False, False, True]


def test_the_queues_and_bindings_of_a_plan_are_declared_once(world: World):
    world.apply(PLAN)
    assert world.broker.requested() == ["exchanges", f"declare {NAME}", f"bind {NAME} {KEY}"]
    world.apply(PLAN)
    assert world.broker.requested() == ["exchanges"]


def test_the_common_queues_are_there_whatever_the_plan():
    world = World()
    assert world.broker.queues.keys() == {"ws-gateway.trades"}
    assert world.broker.bindings == COMMON.bindings


def test_ended_bindings_are_removed_once(world: World):
    world.apply(PLAN)
    ended = Plan((QUEUE,), unbound=PLAN.bindings)
    world.broker.requested()
    world.apply(ended)
    assert world.broker.requested() == ["exchanges", f"unbind {NAME} {KEY}"]
    world.apply(ended)
    assert world.broker.requested() == ["exchanges"]
    world.apply(PLAN)
    assert world.broker.requested() == ["exchanges", f"bind {NAME} {KEY}"]
    world.apply(ended)
    assert world.broker.bindings == COMMON.bindings


def test_a_binding_may_end_again_after_a_plan_without_it(world: World):
    world.apply(Plan(unbound=PLAN.bindings))
    world.apply(Plan())
    world.broker.requested()
    world.apply(Plan(unbound=PLAN.bindings))
    assert world.broker.requested() == ["exchanges", f"unbind {NAME} {KEY}"]


def test_a_key_is_needed_where_a_reachable_queue_of_a_service_is_bound(world: World):
    assert not world.topology.needs(KEY)
    world.apply(PLAN)
    assert world.topology.needs(KEY)
    assert not world.topology.needs("trades.linear.ETHUSDT")
    world.apply(Plan())
    assert not world.topology.needs(KEY)


def test_a_queue_with_other_arguments_is_used_as_it_is(world: World):
    world.broker.queues[NAME] = {"x-max-length": 5}
    with capture_logs() as logged:
        world.apply(PLAN)
    assert [each["event"] for each in logged] == ["queue arguments mismatched"]
    assert world.topology.mismatched == (NAME,)
    assert BINDING in world.broker.bindings
    assert world.broker.queues[NAME] == {"x-max-length": 5}


def test_a_mismatched_queue_has_an_alarm_with_a_remedy(world: World):
    world.broker.queues[NAME] = {"x-max-length": 5}
    world.apply(PLAN)
    world.pass_round()
    alarm = world.topology.depths[NAME].alarm
    assert alarm.level is Level.WARNING
    assert f"rabbitmqctl delete_queue {NAME}" in str(alarm.reason)


def test_a_mismatched_queue_is_not_declared_again_but_when_it_is_gone(world: World):
    world.broker.queues[NAME] = {"x-max-length": 5}
    world.apply(PLAN)
    world.broker.requested()
    world.topology.remake("one", lambda: None)
    world.now += 1
    world.topology.step(world.broker)
    assert f"declare {NAME}" not in world.broker.requested()
    world.broker.delete(NAME)
    world.pass_round()
    assert world.topology.mismatched == ()
    assert world.broker.queues[NAME] == QUEUE.arguments


def test_an_unreachable_queue_is_logged_once_and_needs_no_message(world: World):
    world.broker.down = {NAME}
    with capture_logs() as logged:
        world.apply(PLAN)
        world.pass_round()
        world.pass_round()
    assert [each["event"] for each in logged] == ["queue unreachable, its messages are lost"]
    assert not world.topology.needs(KEY)
    assert BINDING not in world.broker.bindings


def test_an_unreachable_queue_is_declared_and_bound_when_its_node_is_back(world: World):
    world.broker.down = {NAME}
    world.apply(PLAN)
    world.broker.down = set()
    world.pass_round()
    world.pass_round()
    assert world.topology.needs(KEY)
    assert BINDING in world.broker.bindings


def test_a_remake_declares_everything_again_and_then_calls_back(world: World):
    world.apply(PLAN)
    world.now += 1
    world.broker.requested()
    done: list[set[Binding]] = []
    world.broker.bindings.clear()
    world.topology.remake("one", lambda: done.append(set(world.broker.bindings)))
    world.topology.step(world.broker)
    assert done == [COMMON.bindings | PLAN.bindings]
    assert f"declare {NAME}" in world.broker.requested()


@pytest.mark.parametrize(("requested_at", "repeated"), [(99.9, []), (100.0, [f"bind {NAME} {KEY}"])])
def test_a_remake_repeats_the_bindings_that_are_older_than_its_request(requested_at: float, repeated: list[str]):
    broker, declarations = FakeBroker(), Declarations(clock=lambda: 100.0)
    declarations.apply(broker, PLAN.queues, PLAN.bindings)
    broker.requested()
    declarations.forget_before(requested_at)
    assert declarations.keys_of(NAME) == ([] if repeated else [KEY])
    declarations.apply(broker, PLAN.queues, PLAN.bindings)
    assert broker.requested() == ["exchanges", f"declare {NAME}", *repeated]


def test_a_remake_removes_ended_bindings_again(world: World):
    world.apply(Plan((QUEUE,), unbound=PLAN.bindings))
    world.broker.requested()
    world.now += 1
    world.topology.remake("one", lambda: None)
    world.topology.step(world.broker)
    assert f"unbind {NAME} {KEY}" in world.broker.requested()


def test_two_requests_at_once_are_met_together_by_the_newest_plan(world: World):
    called: list[str] = []
    world.topology.remake("one", lambda: called.append("one"))
    world.topology.remake("two", lambda: called.append("two"))
    world.topology.make(Plan(), within_s=0.0)
    world.apply(PLAN)
    assert called == ["one", "two"]
    assert world.broker.requested().count("exchanges") == 1
    assert BINDING in world.broker.bindings


def test_the_newest_remake_of_a_requester_replaces_the_one_that_waits(world: World):
    called: list[int] = []
    for number in range(1000):
        world.topology.remake("one", lambda number=number: called.append(number))  # type: ignore[misc]
    world.topology.step(world.broker)
    world.topology.step(world.broker)
    assert called == [999]


def test_a_plan_is_reported_as_made_when_it_is(world: World):
    with running(world.topology):
        assert world.topology.make(PLAN, within_s=20)
        assert BINDING in world.broker.bindings
    assert world.broker.closed == 1


def test_a_request_survives_a_lost_connection(world: World):
    done = threading.Event()
    world.broker.failures = 2
    with running(world.topology):
        eventually(lambda: world.broker.failures == 0, 20, "the connection was lost at the start")
        eventually(lambda: world.broker.events_processed, 20, "it is connected again")
        world.broker.failures = 1
        world.topology.make(PLAN, within_s=0.0)
        world.topology.remake("one", done.set)
        assert done.wait(20)
    assert BINDING in world.broker.bindings
    assert world.broker.closed == 4


def test_a_new_connection_declares_everything_again(world: World):
    world.apply(PLAN)
    world.broker = replace(FakeBroker())
    with running(world.topology):
        eventually(lambda: BINDING in world.broker.bindings, 20, "it is bound again")


@contextmanager
def running(topology: Topology) -> Iterator[None]:
    worker = start(topology)
    try:
        yield
    finally:
        worker.stop()
        assert worker.ended(within_s=20)


def test_queues_are_inspected_in_rounds_of_five_seconds(world: World):
    world.apply(PLAN)
    world.pass_round()
    world.broker.requested()
    world.now += ROUND_EVERY_S - 0.1
    world.topology.step(world.broker)
    assert world.broker.requested() == []
    world.now += 0.1
    world.topology.step(world.broker)
    assert [each for each in world.broker.requested() if "inspect" in each] == [
        "inspect ws-gateway.trades",
        f"inspect {NAME}",
    ]


def test_the_broker_s_heartbeats_are_answered_between_requests(world: World):
    world.topology.step(world.broker)
    world.topology.step(world.broker)
    assert world.broker.events_processed == 2


def test_depths_are_shown_once_the_round_is_complete(world: World):
    many = Plan(tuple(Queue(f"ws-gateway.trades.s{n}", {}) for n in range(150)))
    world.apply(many)
    world.broker.ready["ws-gateway.trades.s149"] = 7
    world.now += ROUND_EVERY_S
    world.topology.step(world.broker)
    assert world.topology.depths == {}
    world.topology.step(world.broker)
    assert len(world.topology.depths) == 151
    assert world.topology.depths["ws-gateway.trades.s149"].ready == 7


def test_a_request_does_not_wait_for_the_end_of_a_round(world: World):
    world.apply(Plan(tuple(Queue(f"ws-gateway.trades.s{n}", {}) for n in range(150))))
    world.now += ROUND_EVERY_S
    world.topology.step(world.broker)
    world.apply(PLAN)
    assert BINDING in world.broker.bindings
    world.topology.step(world.broker)
    assert world.topology.depths.keys() >= {"ws-gateway.trades"}


def test_a_missing_queue_is_declared_and_bound_again(world: World):
    world.apply(PLAN)
    world.pass_round()
    world.broker.delete(NAME)
    with capture_logs() as logged:
        world.pass_round()
    assert [each["event"] for each in logged] == ["queue missing"]
    assert BINDING in world.broker.bindings
    assert NAME not in world.topology.depths
    world.broker.requested()
    world.pass_round()
    assert NAME in world.topology.depths
    assert "exchanges" not in world.broker.requested(), "it is repaired once"


def test_a_binding_removed_by_hand_is_back_after_a_round(world: World):
    world.apply(PLAN)
    world.broker.bindings.discard(BINDING)
    world.pass_round()
    assert BINDING in world.broker.bindings


def test_many_bindings_are_checked_some_per_round(world: World):
    bindings = frozenset(replace(BINDING, routing_key=f"trades.linear.S{n}") for n in range(40))
    world.apply(Plan((QUEUE,), bindings))
    world.broker.bindings.clear()
    world.pass_round()
    assert len(world.broker.bindings) == 25
    world.pass_round()
    assert len(world.broker.bindings) == 41


def test_an_ended_binding_is_not_made_again_by_the_rounds(world: World):
    world.apply(PLAN)
    world.pass_round()
    world.apply(Plan((QUEUE,), unbound=PLAN.bindings))
    world.pass_round()
    world.pass_round()
    assert BINDING not in world.broker.bindings


def test_the_publish_rate_of_a_queue_counts_the_keys_that_are_bound_to_it(world: World):
    rates: list[float | None] = []
    for plan in (PLAN, Plan((QUEUE,), unbound=PLAN.bindings)):
        world.apply(plan)
        world.pass_round()
        for _ in range(10):
            world.traffic.count(KEY)
        world.pass_round()
        rates.append(world.topology.depths[NAME].publish_rate)
    assert rates == [10 / ROUND_EVERY_S, 0.0]


def test_an_unused_queue_is_deleted_a_day_after_its_last_subscription(world: World):
    now = datetime.now(UTC)
    old, fresh = Unused("ws-gateway.trades.old", now - timedelta(hours=25)), Unused("ws-gateway.trades.fresh", now)
    world.broker.queues |= {old.name: {}, fresh.name: {}}
    world.broker.consumers |= {old.name: 0, fresh.name: 0}
    world.apply(Plan(unused=frozenset({old, fresh})))
    world.pass_round()
    assert world.broker.queues.keys() == {"ws-gateway.trades", fresh.name}
    assert world.topology.depths[fresh.name].unused_since == now
    world.broker.requested()
    world.pass_round()
    assert f"inspect {old.name}" not in world.broker.requested()


def test_an_unused_queue_with_a_consumer_stays_and_raises_no_alarm(world: World):
    unused = Unused("ws-gateway.trades.old", datetime.now(UTC) - timedelta(hours=25))
    world.broker.queues[unused.name] = {}
    world.broker.ready[unused.name] = 50_000
    world.apply(Plan(unused=frozenset({unused})))
    world.pass_round()
    assert world.topology.depths[unused.name].alarm.level is Level.OK


def test_a_queue_that_was_deleted_as_unused_is_declared_when_it_is_used_again(world: World):
    unused = Unused(NAME, datetime.now(UTC) - timedelta(hours=25))
    world.apply(PLAN)
    world.broker.consumers[NAME] = 0
    world.apply(Plan(unused=frozenset({unused})))
    world.pass_round()
    assert NAME not in world.broker.queues
    world.apply(PLAN)
    assert BINDING in world.broker.bindings
    world.apply(Plan(unused=frozenset({unused})))
    world.pass_round()
    assert NAME not in world.broker.queues, "unused once more, it is deleted once more"


def test_a_queue_that_a_new_plan_dropped_is_not_inspected(world: World):
    many = tuple(Queue(f"ws-gateway.trades.s{n}", {}) for n in range(150))
    world.apply(Plan(many))
    world.now += ROUND_EVERY_S
    world.topology.step(world.broker)
    world.apply(Plan())
    world.broker.requested()
    world.topology.step(world.broker)
    assert [each for each in world.broker.requested() if "inspect" in each] == []


def test_a_changed_alarm_is_logged(world: World):
    world.apply(PLAN)
    world.broker.ready[NAME] = 90
    with capture_logs() as logged:
        world.pass_round()
        world.pass_round()
        world.broker.ready[NAME] = 0
        world.pass_round()
    assert [(each["alarm"], each["was"]) for each in logged] == [("warning", "ok"), ("ok", "warning")]


def test_a_stop_ends_the_thread_and_closes_the_connection(world: World):
    with running(world.topology):
        eventually(lambda: world.broker.events_processed, 20, "it is connected")
    assert world.broker.closed == 1
