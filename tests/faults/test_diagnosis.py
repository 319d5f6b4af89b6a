"""For each fault between the exchange and a consumer, `/diagnosis` names it, and `/health` agrees."""

import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.reading import Reader
from tests.e2e.stack import Stack, call, working
from tests.faults.conftest import Exchange
from tests.kit import servers
from tests.kit.proxy import Proxy
from tests.kit.servers import Broker, Database, Postgres, RabbitMQ
from tests.kit.waiting import eventually

TOPIC = "tickers.BTCUSDT"
Row = dict[str, Any]
_numbers = count()


@pytest.fixture(scope="module")
def broker(rabbitmq: RabbitMQ) -> Iterator[Broker]:
    with servers.fresh_vhost(rabbitmq) as mine:
        yield mine


@pytest.fixture(scope="module")
def way_to_broker(broker: Broker) -> Iterator[Proxy]:
    with Proxy(broker.host, broker.port) as mine:
        yield mine


@pytest.fixture(scope="module")
def gateway(
    postgres: Postgres,
    migrated: Database,
    broker: Broker,
    way_to_broker: Proxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """A running gateway whose connection to the broker can be cut."""
    with servers.fresh_database(postgres, migrated) as database:
        beyond = replace(broker, port=way_to_broker.port)
        with working(Stack(tmp_path_factory.mktemp("gateway"), database, beyond)) as mine:
            yield mine


@pytest.fixture
def service(gateway: Stack) -> Iterator[str]:
    """A service name per test, so that no queues of earlier tests are left."""
    name = f"service-{next(_numbers)}"
    yield name
    gateway.call("DELETE", f"/api/v1/subscriptions/by-service/{name}")


@pytest.fixture
def patient(gateway: Stack, broker: Broker, service: str) -> Iterator[Row]:
    """A lively topic that is read."""
    row = gateway.subscribe(service, topic=TOPIC)
    gateway.live(service)
    with Reader(broker, (row["queue"],)):
        assert eventually(lambda: states(gateway, row) == {"ok"}, 30, "every hop is ok")
        yield row


def diagnosis(gateway: Stack, row: Row) -> Row:
    status, found = gateway.call("GET", f"/api/v1/subscriptions/{row['id']}/diagnosis")
    assert status == 200, found
    return dict(found)


def states(gateway: Stack, row: Row) -> set[str]:
    return {hop["state"] for hop in diagnosis(gateway, row)["hops"]}


def diagnosed(gateway: Stack, row: Row, broken: str | None, words: str = "", within_s: float = 30.0) -> Row:
    """Wait until the diagnosis names this hop with these words."""

    def asked() -> Row | None:
        found = diagnosis(gateway, row)
        return found if found["broken"] == broken and words in found["verdict"] else None

    return eventually(asked, within_s, f"{broken} is named: {words}")


def health(gateway: Stack, component: str, state: str, within_s: float = 30.0) -> Row:
    def asked() -> Row | None:
        status, found = call(gateway.api_port, "GET", "/health")
        part = found["components"][component]
        return part if part["state"] == state and status == (503 if state == "down" else 200) else None

    return dict(eventually(asked, within_s, f"{component} is {state}"))


def ready(gateway: Stack, service: str) -> Row:
    return dict(call(gateway.api_port, "GET", f"/ready?service={service}")[1])


def test_nothing_is_broken(gateway: Stack, patient: Row):
    diagnosed(gateway, patient, None, "events reach the consumer")

    def linear() -> bool:  # the report of a new connection may be a moment behind that of its topics
        return bool(health(gateway, "sockets", "up")["endpoints"]["linear"]["state"] == "up")

    assert eventually(linear, 10, "the connection is up")


def test_a_queue_without_a_consumer(gateway: Stack, service: str):
    row = gateway.subscribe(service, topic=TOPIC)
    gateway.live(service)
    found = diagnosed(gateway, row, "consumer", f"ws-gateway.ticker.{service} has no consumer")
    assert f"start {service}" in found["advice"]


def test_the_broker_is_unavailable(gateway: Stack, patient: Row, way_to_broker: Proxy):
    way_to_broker.stop()
    try:
        diagnosed(gateway, patient, "last_publish", "RabbitMQ accepts no events")
        assert health(gateway, "broker", "down")["since"]
        asked = gateway.subscribe(patient["requesting_service"], topic="tickers.ETHUSDT")
        assert {hop["hop"]: hop["state"] for hop in diagnosed(gateway, asked, "last_publish")["hops"]}[
            "queue"
        ] == "unknown"
        assert diagnosis(gateway, asked)["subscription"]["status"] == "pending"  # its queue cannot be made
        missing = ready(gateway, asked["requesting_service"])["missing"]
        assert {each["what"] for each in missing} == {"subscription", "queue"}
    finally:
        way_to_broker.start()
    diagnosed(gateway, patient, None, within_s=60)
    gateway.live(asked["requesting_service"], 60)
    health(gateway, "broker", "up", within_s=60)


def test_the_broker_hangs(gateway: Stack, patient: Row, way_to_broker: Proxy):
    way_to_broker.deafen()
    try:
        assert "confirms nothing" in health(gateway, "broker", "down", within_s=5.0)["reason"]
        diagnosed(gateway, patient, "last_publish", "RabbitMQ confirms nothing")
        assert ready(gateway, patient["requesting_service"])["missing"]
    finally:
        way_to_broker.hear()
    diagnosed(gateway, patient, None, within_s=60)


def test_the_queue_was_deleted(gateway: Stack, patient: Row, broker: Broker):
    place = f"queues/{quote(broker.vhost, '')}/{quote(patient['queue'], '')}"
    broker.manage("DELETE", place)
    assert eventually(lambda: broker.manage("GET", place), 30, "it is there again")
    diagnosed(gateway, patient, "consumer", "has no consumer")  # the deletion ended the reader, too


def test_the_queue_was_made_by_somebody_else(gateway: Stack, broker: Broker, service: str):
    name = f"ws-gateway.ticker.{service}"
    with closing(broker.connect()) as connection:
        connection.channel().queue_declare(name, durable=True)
        row = gateway.subscribe(service, topic=TOPIC)
        gateway.live(service)
        with Reader(broker, (name,)):
            diagnosed(gateway, row, None, "events reach the consumer")
            reported = eventually(lambda: health(gateway, "broker", "up")["other_arguments"], 15, "it is reported")
        assert f"rabbitmqctl delete_queue {name}" in reported[name]
        connection.channel().queue_delete(name)
    assert eventually(lambda: not health(gateway, "broker", "up")["other_arguments"], 30, "it was made again")


def test_the_socket_is_in_backoff(gateway: Stack, patient: Row, exchange: Exchange):
    exchange.fault("handshake", endpoint="linear", form="503", seconds=60)
    exchange.control("abort", endpoint="linear")
    diagnosed(gateway, patient, "socket", "the linear connection is in state")
    assert "linear" in health(gateway, "sockets", "down")["reason"]
    exchange.well()
    diagnosed(gateway, patient, None, within_s=60)


def test_the_key_is_bad(gateway: Stack, exchange: Exchange, service: str):
    row = gateway.subscribe(service, channel_type="order")
    exchange.fault("refuse_auth", message="API key is invalid.")
    exchange.control("abort", endpoint="private")
    found = diagnosed(gateway, row, "socket", "API key is invalid.")
    assert found["subscription"]["status"] == "pending"
    assert "private" in health(gateway, "sockets", "down")["reason"]
    exchange.well()
    gateway.processes["ingestor"].hang_up()  # as the advice demands
    gateway.live(service)


def test_the_exchange_refuses_the_topic(gateway: Stack, exchange: Exchange, service: str):
    exchange.fault("refuse_topic", endpoint="linear", topic="tickers.SOLUSDT")
    status, row = gateway.call(
        "POST",
        "/api/v1/subscriptions",
        {"topic": "tickers.SOLUSDT", "requesting_service": service},
        {"Prefer": "wait=10"},
    )
    assert (status, row["status"]) == (201, "rejected")
    assert row["reason"]
    diagnosed(gateway, row, "ack", row["reason"])


def test_a_quiet_market_is_no_fault(gateway: Stack, broker: Broker, exchange: Exchange, service: str):
    exchange.fault("mute", endpoint="linear", topic="allLiquidation.BTCUSDT")
    row = gateway.subscribe(service, topic="allLiquidation.BTCUSDT")
    gateway.live(service)
    with Reader(broker, (row["queue"],)):
        diagnosed(gateway, row, None, "a quiet market sends no events")


def test_the_ingestor_hangs(gateway: Stack, patient: Row):
    gateway.processes["ingestor"].signal(signal.SIGSTOP)
    try:
        diagnosed(gateway, patient, "reconciled", "the last heartbeat of the ingestor")
        assert health(gateway, "ingestor", "down")["since"]
        assert diagnosis(gateway, patient)["subscription"]["status"] == "pending"
    finally:
        gateway.processes["ingestor"].signal(signal.SIGCONT)
    diagnosed(gateway, patient, None, within_s=60)


def test_the_ingestor_was_killed(gateway: Stack, patient: Row):
    gateway.processes["ingestor"].kill()
    diagnosed(gateway, patient, "reconciled", "the ingestor")
    health(gateway, "ingestor", "down")
    gateway.start("ingestor")
    diagnosed(gateway, patient, None, within_s=60)


def test_it_was_cancelled_or_its_lease_ran_out(gateway: Stack, service: str):
    row = gateway.subscribe(service, topic=TOPIC)
    gateway.call("DELETE", f"/api/v1/subscriptions/{row['id']}")
    diagnosed(gateway, row, "intent", "it was cancelled")
    row = gateway.subscribe(service, topic=TOPIC, ttl_seconds=1)
    diagnosed(gateway, row, "intent", "its lease expired")


def test_the_persister_is_not_running(gateway: Stack, patient: Row):
    gateway.processes["persister"].kill()
    assert health(gateway, "persister", "down")["reason"] == "its queue has no consumer"
    diagnosed(gateway, patient, None)
    gateway.start("persister")
    health(gateway, "persister", "up")
