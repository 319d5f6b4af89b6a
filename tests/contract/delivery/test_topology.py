"""The queues and bindings on a real broker."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from common import settings, topology
from common.channels import Request, of_topic, resolve
from common.lifecycle import start
from common.settings import Environment, Retention
from ingestor.delivery.plan import Plan, Unused, common_plan
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.topology import Topology
from tests.kit.servers import Broker
from tests.kit.waiting import eventually

RETENTION = Retention(hours=24, messages=100_000)
TRADES = resolve(Request("trades", "BTCUSDT"))
ORDER_CHANNEL = resolve(Request("order"))
BALANCES = topology.BALANCE_QUEUE


def plan(*subscribed: tuple[Any, str], retention: Retention = RETENTION) -> Plan:
    queues = [topology.queue_of(channel, service, retention, "classic") for channel, service in subscribed]
    bindings = frozenset(b for channel, service in subscribed for b in topology.bindings_of(channel, service))
    return Plan(tuple({queue.name: queue for queue in queues}.values()), bindings)


@contextmanager
def running(broker: Broker, classes: tuple[str, ...] = ()) -> Iterator[Topology]:
    env = Environment(broker.environ())
    rabbitmq = settings.rabbitmq(env)
    queues = Topology(rabbitmq, common_plan(classes, RETENTION, "classic"), Traffic())
    worker = start(queues)
    try:
        yield queues
    finally:
        worker.stop()
        assert worker.ended(within_s=10)


@pytest.fixture
def channel(broker: Broker) -> Iterator[Any]:
    connection = broker.connect()
    yield connection.channel()
    if connection.is_open:
        connection.close()


def made(broker: Broker) -> dict[str, dict[str, Any]]:
    vhost = broker.vhost.replace("/", "%2F")
    return {queue["name"]: queue for queue in broker.manage("GET", f"queues/{vhost}")}


def bound(broker: Broker) -> set[tuple[str, str]]:
    """Queue and routing key of each binding that brings events to a service."""
    vhost = broker.vhost.replace("/", "%2F")
    found = broker.manage("GET", f"exchanges/{vhost}/{topology.EVENTS}/bindings/source")
    return {(each["destination"], each["routing_key"]) for each in found if each["destination"] != BALANCES}


def test_a_service_has_its_own_queue_with_the_documented_arguments(broker: Broker):
    with running(broker) as queues:
        assert queues.make(plan((TRADES, "model"), (ORDER_CHANNEL, "model")), within_s=10)
    found = made(broker)
    trades, orders = found["ws-gateway.trades.model"]["arguments"], found["ws-gateway.order.model"]["arguments"]
    assert trades == {
        "x-queue-type": "classic",
        "x-queue-version": 2,
        "x-message-ttl": 86_400_000,
        "x-max-length": 100_000,
        "x-max-length-bytes": 2**30,
        "x-overflow": "drop-head",
        "x-single-active-consumer": True,
    }
    assert orders["x-queue-type"] == "quorum"
    assert orders["x-delivery-limit"] == 1_000_000
    assert orders["x-dead-letter-exchange"] == "ws-gateway.dead"
    assert found["ws-gateway.balance.persister"]["arguments"].get("x-max-length") is None


def test_a_service_receives_what_it_subscribed_to_and_nothing_else(broker: Broker, channel: Any):
    other = resolve(Request("trades", "ETHUSDT"))
    with running(broker, ("trades",)) as queues:
        assert queues.make(plan((TRADES, "one"), (other, "two")), within_s=10)
        for each in (TRADES, other):
            channel.basic_publish(topology.EVENTS, each.routing_key, b"event")
            channel.basic_publish(topology.EVENTS, each.gap_key, b"gap")
        names = ("ws-gateway.trades.one", "ws-gateway.trades.two", "ws-gateway.trades")
        eventually(lambda: [depth(channel, name) for name in names] == [2, 2, 4], 5, "each has its own")
        ended = plan((other, "two"))
        assert queues.make(replace(ended, unbound=plan((TRADES, "one")).bindings), within_s=10)
        channel.basic_publish(topology.EVENTS, TRADES.routing_key, b"event")
        channel.basic_publish(topology.EVENTS, other.routing_key, b"event")
        eventually(lambda: [depth(channel, name) for name in names] == [2, 3, 6], 5, "the other one receives no more")


def test_many_bindings_are_made_and_removed_together(broker: Broker):
    many = plan(*((of_topic("linear", f"publicTrade.S{number}USDT"), f"s{number % 3}") for number in range(600)))
    few = plan(*((of_topic("linear", f"publicTrade.S{number}USDT"), f"s{number % 3}") for number in range(3)))
    with running(broker) as queues:
        assert queues.make(many, within_s=20)
        assert bound(broker) == {(each.queue, each.routing_key) for each in many.bindings}
        assert queues.make(replace(few, unbound=many.bindings - few.bindings), within_s=20)
        assert bound(broker) == {(each.queue, each.routing_key) for each in few.bindings}


def test_a_key_is_needed_where_a_queue_of_a_service_is_bound_to_it(broker: Broker):
    with running(broker) as queues:
        assert queues.make(plan((TRADES, "model")), within_s=10)
        assert queues.needs(TRADES.routing_key)
        assert not queues.needs("trades.linear.ETHUSDT")
        assert queues.make(Plan(), within_s=10)
        assert not queues.needs(TRADES.routing_key)


def test_a_binding_that_does_not_exist_can_be_removed(broker: Broker):
    with running(broker) as queues:
        assert queues.make(Plan(unbound=plan((TRADES, "never-was")).bindings), within_s=10)
        assert queues.make(plan((TRADES, "one")), within_s=10)


def test_a_queue_with_other_arguments_is_used_as_it_is_and_reported(broker: Broker, channel: Any):
    channel.queue_declare("ws-gateway.trades.model", durable=True, arguments={"x-max-length": 5})
    with running(broker) as queues:
        assert queues.make(plan((TRADES, "model")), within_s=10)
        assert queues.mismatched == ("ws-gateway.trades.model",)
        channel.basic_publish(topology.EVENTS, TRADES.routing_key, b"event")
        eventually(lambda: depth(channel, "ws-gateway.trades.model") == 1, 5, "it is bound all the same")


def test_a_queue_deleted_by_hand_comes_back_with_its_bindings(broker: Broker, channel: Any):
    with running(broker) as queues:
        assert queues.make(plan((TRADES, "model")), within_s=10)
        channel.queue_delete("ws-gateway.trades.model")

        def delivered() -> bool:
            channel.basic_publish(topology.EVENTS, TRADES.routing_key, b"event")
            return "ws-gateway.trades.model" in made(broker) and depth(channel, "ws-gateway.trades.model") > 0

        eventually(delivered, 15, "it is there and bound")


def test_a_binding_removed_by_hand_comes_back(broker: Broker, channel: Any):
    with running(broker) as queues:
        assert queues.make(plan((TRADES, "model")), within_s=10)
        channel.queue_unbind("ws-gateway.trades.model", topology.EVENTS, TRADES.routing_key)

        def delivered() -> bool:
            channel.basic_publish(topology.EVENTS, TRADES.routing_key, b"event")
            return depth(channel, "ws-gateway.trades.model") > 0

        eventually(delivered, 15, "it is bound again")


def test_a_remake_is_complete_when_it_calls_back(broker: Broker, channel: Any):
    expected, done = plan((TRADES, "model")), threading.Event()
    with running(broker) as queues:
        assert queues.make(expected, within_s=10)
        channel.queue_unbind("ws-gateway.trades.model", topology.EVENTS, TRADES.routing_key)
        queues.remake("tests", done.set)
        assert done.wait(10)
        assert bound(broker) == {(each.queue, each.routing_key) for each in expected.bindings}


def test_an_unused_queue_is_deleted_after_a_day_unless_it_has_a_consumer(broker: Broker, channel: Any):
    names = {name: f"ws-gateway.trades.{name}" for name in ("old", "read", "fresh")}
    for name in names.values():
        channel.queue_declare(name, durable=True)
    channel.basic_consume(names["read"], lambda *_: None)
    yesterday, today = datetime.now(UTC) - timedelta(hours=25), datetime.now(UTC) - timedelta(hours=23)
    unused = {Unused(names["old"], yesterday), Unused(names["read"], yesterday), Unused(names["fresh"], today)}
    with running(broker) as queues:
        assert queues.make(Plan(unused=frozenset(unused)), within_s=10)
        eventually(lambda: names["old"] not in made(broker), 15, "the old one is gone")
        eventually(lambda: names["read"] in queues.depths, 10, "the others are still watched")
        assert {names["read"], names["fresh"]} <= set(made(broker))
        assert queues.depths[names["fresh"]].unused_since == today


def test_retention_by_length_and_age_drops_the_oldest_and_keeps_the_sequence(broker: Broker, channel: Any):
    short = topology.event_arguments("trades", RETENTION, "classic") | {"x-max-length": 100}
    aged = topology.event_arguments("trades", RETENTION, "classic") | {"x-message-ttl": 300}
    channel.queue_declare("short", durable=True, arguments=short)
    channel.queue_declare("aged", durable=True, arguments=aged)
    channel.confirm_delivery()
    for number in range(250):
        channel.basic_publish("", "short", str(number).encode())
        channel.basic_publish("", "aged", str(number).encode())
    kept = [int(channel.basic_get("short", auto_ack=True)[2]) for _ in range(100)]
    assert kept == list(range(150, 250))
    eventually(lambda: depth(channel, "aged") == 0, 10, "all of it is too old")


def test_a_second_instance_takes_over_in_sequence(broker: Broker, channel: Any):
    with running(broker) as queues:
        assert queues.make(plan((TRADES, "model")), within_s=10)
        for number in range(20):
            channel.basic_publish(topology.EVENTS, TRADES.routing_key, str(number).encode())
        first = Instance(broker, acks=False)
        eventually(lambda: len(first.got) == 5, 10, "the first one reads what it may")
        second = Instance(broker, acks=True)
        assert second.got == []
        first.die()
        eventually(lambda: len(second.got) == 20, 10, "the second one took over")
        assert second.got == list(range(20))
        second.die()


class Instance:
    """Reads five messages at a time."""

    def __init__(self, broker: Broker, acks: bool) -> None:
        self.got: list[int] = []
        self._acks = acks
        self._connection = broker.connect()
        self._stop = threading.Event()
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=5)
        self._channel.basic_consume("ws-gateway.trades.model", self._take)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def die(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _take(self, channel: Any, method: Any, _properties: pika.BasicProperties, body: bytes) -> None:
        self.got.append(int(body))
        if self._acks:
            channel.basic_ack(method.delivery_tag)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._connection.process_data_events(0.05)
        with suppress(ChannelClosedByBroker):  # pika would cancel first, see examples/consumer.py
            self._channel.queue_declare("ws-gateway.none", passive=True)
        self._connection.close()


def depth(channel: Any, name: str) -> int:
    return int(channel.queue_declare(name, passive=True).method.message_count)
