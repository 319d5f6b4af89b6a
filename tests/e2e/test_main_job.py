"""A subscription over HTTP, events on a queue, balances in Postgres, and one trace id through all of it."""

import json
import signal
from typing import Any

import pytest

from tests.e2e.reading import Reader
from tests.e2e.stack import KEY, Stack, call, get
from tests.kit.waiting import eventually


def test_a_subscription_becomes_events_and_its_end_ends_them(gateway: Stack):
    headers = {"X-Request-ID": "trace-of-the-subscription"}
    body = {"channel_type": "ticker", "symbol": "BTCUSDT", "requesting_service": "model"}
    status, row = gateway.call("POST", "/api/v1/subscriptions", body, headers)
    assert (status, row["queue"], row["routing_key"]) == (201, "ws-gateway.ticker.model", "ticker.linear.BTCUSDT")
    assert gateway.call("POST", "/api/v1/subscriptions", body)[0] == 200
    gateway.live("model")
    with Reader(gateway.broker, ("ws-gateway.ticker.model",)) as reader:
        eventually(lambda: len(reader.messages) > 3, 10, "events arrive")
        first = reader.messages[0]
    assert first.properties.content_type == "application/cloudevents+json"
    assert (first.properties.type, first.properties.app_id, first.properties.delivery_mode) == (
        "ticker",
        "ws-gateway",
        2,
    )
    assert first.properties.message_id == json.loads(first.body)["id"]

    activated = [line for line in gateway.processes["ingestor"].lines() if line["event"] == "subscription activated"]
    assert [line["trace_id"] for line in activated] == ["trace-of-the-subscription"]
    requests = [
        line for line in gateway.processes["api"].lines() if line.get("trace_id") == "trace-of-the-subscription"
    ]
    assert requests
    subscriptions = gateway.database.execute("SELECT trace_id FROM subscriptions WHERE requesting_service = 'model'")
    assert subscriptions == [("trace-of-the-subscription",)]

    assert gateway.call("DELETE", f"/api/v1/subscriptions/{row['id']}")[0] in (200, 204)

    def unbound() -> bool:
        vhost = gateway.broker.vhost.replace("/", "%2F")
        bindings = gateway.broker.manage("GET", f"queues/{vhost}/ws-gateway.ticker.model/bindings")
        return all(binding["source"] != "ws-gateway.events" for binding in bindings)

    eventually(unbound, 5, "the binding is gone")

    def held() -> list[str]:
        return [topic["topic"] for topic in gateway.call("GET", "/api/v1/topics")[1]["items"]]

    eventually(lambda: "tickers.BTCUSDT" not in held(), 5, "the exchange has received it")


def test_one_exchange_subscription_serves_all_and_ends_with_the_last(gateway: Stack):
    for service in ("one", "two"):
        gateway.subscribe(service, channel_type="trades", symbol="BTCUSDT")
        gateway.live(service)

    def held() -> list[str]:
        found = call(gateway.simulator_port, "GET", "/control/connections")[1]["connections"]
        return [topic for each in found if each["endpoint"] == "linear" for topic in each["topics"]]

    assert held() == ["publicTrade.BTCUSDT"]
    gateway.call("DELETE", "/api/v1/subscriptions/by-service/one")
    with Reader(gateway.broker, ("ws-gateway.trades.two",)) as reader:
        eventually(lambda: len(reader.messages) > 2, 20, "the other one still has its copy")
    assert held() == ["publicTrade.BTCUSDT"]
    gateway.call("DELETE", "/api/v1/subscriptions/by-service/two")
    eventually(lambda: held() == [], 10, "the last one out unsubscribed")


def test_balances_are_stored_without_a_subscription(gateway: Stack):
    eventually(lambda: gateway.database.execute("SELECT 1 FROM account_balances WHERE origin = 'live'"), 20, "rows")
    status, found = gateway.call("GET", "/api/v1/balances")
    assert status == 200
    assert {row["coin"] for row in found["items"]} & {"USDT", "USDC", "BTC", "ETH"}
    assert gateway.call("GET", "/api/v1/balances/history")[1]["total"] > 0
    assert gateway.call("GET", "/api/v1/subscriptions?requesting_service=persister")[1]["total"] == 0


def test_subscriptions_that_make_no_sense_are_refused_and_nothing_is_stored(gateway: Stack):
    subscription = {"channel_type": "trades", "symbol": "BTCUSDT", "requesting_service": "fool"}
    refused: list[tuple[dict[str, Any], int]] = [
        (subscription | {"channel_type": "trade"}, 422),
        (subscription | {"symbol": "BTCUSD"}, 422),
        (subscription | {"requesting_service": "Model!"}, 422),
        (subscription | {"surprise": 1}, 422),
    ]
    for body, expected in refused:
        status, problem = gateway.call("POST", "/api/v1/subscriptions", body)
        assert (status, problem["status"]) == (expected, expected), problem
    assert gateway.call("POST", "/api/v1/subscriptions", subscription, {"X-API-Key": "wrong"})[0] == 401
    stored = "SELECT count(*) FROM subscriptions WHERE requesting_service = 'fool'"
    assert gateway.database.execute(stored) == [(0,)]
    suggestion = gateway.call("POST", "/api/v1/subscriptions", subscription | {"symbol": "BTCUSD"})[1]
    assert "BTCUSDT" in json.dumps(suggestion)


def test_every_process_has_its_figures_and_logs_in_one_form(gateway: Stack):
    for port in (gateway.api_port, gateway.ingestor_metrics, gateway.persister_metrics):
        assert "wsgw_" in get(port, "/metrics")
    for name in ("ingestor", "api", "persister"):
        lines = gateway.processes[name].lines()
        assert lines, name
        for line in lines:
            assert list(line)[:6] == ["timestamp", "level", "logger", "event", "process", "trace_id"]
            assert line["process"] == name
        log = gateway.processes[name].log()
        secrets = ("simulator-secret", KEY, gateway.database.password, gateway.broker.password)
        assert not [secret for secret in secrets if secret in log]


def test_a_hung_ingestor_turns_health_red_and_its_return_green(gateway: Stack):
    gateway.processes["ingestor"].signal(signal.SIGSTOP)
    eventually(lambda: call(gateway.api_port, "GET", "/health")[0] == 503, 10, "it is noticed")
    assert call(gateway.api_port, "GET", "/health")[1]["components"]["ingestor"]["state"] == "down"
    gateway.processes["ingestor"].signal(signal.SIGCONT)
    gateway.healthy()


@pytest.mark.parametrize("name", ["ingestor", "persister"])
def test_a_process_waits_for_its_dependencies_and_logs_each_outage_once(stack: Stack, name: str):
    stack.more = {"POSTGRES_PORT": "1", "RABBITMQ_PORT": "1"}
    stack.start(name)
    away = "dependency unavailable"
    eventually(lambda: away in stack.processes[name].log(), 20, "the outage is logged")
    assert stack.processes[name].running
    assert stack.processes[name].stop() == 0
    lines = stack.processes[name].lines()
    logged = [line.get("dependency") for line in lines if line["event"] == away]
    assert 0 < len(logged) <= 5, logged


def test_every_process_stops_in_order(gateway: Stack):
    assert {name: process.stop() for name, process in gateway.processes.items()} == dict.fromkeys(gateway.processes, 0)
