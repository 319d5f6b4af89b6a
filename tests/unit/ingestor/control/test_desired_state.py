"""The desired state, updated by each change."""

from datetime import UTC, datetime, timedelta

import pytest

from common.settings import Retention
from common.tables.subscriptions import Changed, DesiredSubscription
from ingestor.control.desired_state import DesiredState
from ingestor.delivery.plan import Plan, Unused

NOW = datetime.now(UTC)
BTC, ETH = "publicTrade.BTCUSDT", "publicTrade.ETHUSDT"
QUEUE = "ws-gateway.trades.model"


@pytest.fixture
def state() -> DesiredState:
    return DesiredState(Retention(24, 100_000), "classic")


def subscription(topic: str = BTC, service: str = "model", generation: int = 1) -> DesiredSubscription:
    return DesiredSubscription(service, "linear", topic, generation, None)


def added(topic: str = BTC, service: str = "model") -> Changed:
    return Changed(subscription(topic, service), None)


def ended(topic: str = BTC, service: str = "model", at: datetime = NOW) -> Changed:
    return Changed(subscription(topic, service), at)


def topics(state: DesiredState) -> list[str]:
    return [topic for _, topic in state.channels()]


def queues(plan: Plan) -> list[str]:
    return [queue.name for queue in plan.queues]


def keys(plan: Plan) -> set[str]:
    return {binding.routing_key for binding in plan.bindings}


def test_an_added_subscription_has_its_queue_and_its_bindings(state: DesiredState):
    state.change([added(BTC), added(ETH)])
    assert topics(state) == [BTC, ETH]
    assert queues(state.plan()) == [QUEUE]
    assert {"trades.linear.BTCUSDT", "trades.linear.ETHUSDT"} <= keys(state.plan())


def test_a_topic_is_held_until_the_last_service_has_left(state: DesiredState):
    state.change([added(service="one"), added(service="two"), ended(service="one")])
    assert topics(state) == [BTC]
    state.change([ended(service="two")])
    assert topics(state) == []


def test_a_queue_is_unused_once_its_last_subscription_ended(state: DesiredState):
    state.change([added(BTC), added(ETH), ended(BTC)])
    assert queues(state.plan()) == [QUEUE]
    assert not state.plan().unused
    state.change([ended(ETH)])
    assert queues(state.plan()) == []
    assert state.plan().unused == {Unused(QUEUE, NOW)}
    state.change([added(ETH)])
    assert queues(state.plan()) == [QUEUE]
    assert not state.plan().unused


def test_ended_bindings_are_part_of_the_plan_until_they_are_removed(state: DesiredState):
    state.change([added()])
    bound = state.plan().bindings
    state.change([ended()])
    assert (state.plan().bindings, state.plan().unbound) == (frozenset(), bound)
    state.unbound()
    assert state.plan().unbound == frozenset()


def test_a_subscription_that_ended_and_was_added_again_stays_bound(state: DesiredState):
    state.change([added()])
    before = state.plan().bindings
    state.change([ended(), added()])
    assert (state.plan().bindings, state.plan().unbound) == (before, frozenset())


def test_subscriptions_that_ended_before_the_start_are_unbound_too(state: DesiredState):
    state.ended([("model", "linear", BTC), ("model", "linear", "no topic")])
    state.last_ends([("model", "trades", NOW), ("model", "ticker", NOW - timedelta(days=31))])
    state.replace([subscription(ETH, "other")])
    assert "trades.linear.BTCUSDT" in {binding.routing_key for binding in state.plan().unbound}
    assert state.plan().unused == {Unused(QUEUE, NOW)}


def test_a_complete_list_replaces_what_was_known(state: DesiredState):
    state.replace([subscription(BTC), subscription(ETH)])
    state.replace([subscription(ETH, generation=7)])
    assert topics(state) == [ETH]
    assert state.desired() == (subscription(ETH, generation=7),)
    assert "trades.linear.BTCUSDT" in {binding.routing_key for binding in state.plan().unbound}


def test_an_invalid_row_is_passed_over(state: DesiredState):
    invalid = Changed(DesiredSubscription("model", "linear", "no topic", 1, None), None)
    state.change([invalid, added(), Changed(invalid.subscription, NOW)])
    assert topics(state) == [BTC]
    assert state.desired() == (subscription(),)


def test_the_queues_of_a_key_are_known(state: DesiredState):
    state.change([added(service="one"), added(service="two"), added(ETH, "three")])
    plan = state.plan()
    assert plan.queues_of("trades.linear.BTCUSDT") == {"ws-gateway.trades.one", "ws-gateway.trades.two"}
    assert plan.queues_of("trades.linear.XRPUSDT") == frozenset()


def test_a_subscription_that_came_and_went_between_two_reads_is_unbound_and_its_queue_unused(state: DesiredState):
    state.change([ended()])
    assert "trades.linear.BTCUSDT" in {binding.routing_key for binding in state.plan().unbound}
    assert state.plan().unused == {Unused(QUEUE, NOW)}
