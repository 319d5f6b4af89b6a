"""Eight thousand subscriptions over HTTP: all are answered for, and the next one is live as soon as the first was."""

import time
from typing import Any

import pytest

from tests.e2e.stack import Stack
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SERVICES, EACH = 16, 500
KNOWN = [
    {"channel_type": channel_type, "symbol": symbol}
    for channel_type in ("trades", "ticker", "orderbook")
    for symbol in ("BTCUSDT", "ETHUSDT")
]
UNKNOWN = SERVICES * (EACH - len(KNOWN))  # topics that the exchange does not have, each of one service
SETTLED_WITHIN_S = 120.0
LIVE_WITHIN_S = 3.0  # three times what is promised


def wanted_by(service: int) -> list[dict[str, Any]]:
    unknown = [{"channel_type": "raw", "topic": f"unknown.{service}.{number}"} for number in range(EACH - len(KNOWN))]
    return [*KNOWN, *unknown]


def total(stack: Stack, **filters: object) -> int:
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    status, page = stack.call("GET", f"/api/v1/subscriptions?limit=1&{query}")
    assert status == 200, page
    return int(page["total"])


def settled(stack: Stack) -> bool:
    """Whether nothing is pending, and all is well."""
    return total(stack, status="pending") == 0 and not down(stack)


def down(stack: Stack) -> dict[str, Any]:
    """The components that are, and why."""
    _, health = stack.call("GET", "/health")
    return {name: part for name, part in health["components"].items() if part["state"] == "down"}


def test_all_are_answered_for_and_one_more_is_live_at_once(stack: Stack):
    stack.start()
    stack.healthy()
    for service in range(SERVICES):
        body = {"subscriptions": wanted_by(service)}
        status, answer = stack.call("PUT", f"/api/v1/services/service-{service}/subscriptions", body)
        assert (status, len(answer["added"])) == (200, EACH), answer
        assert down(stack) == {}
    eventually(lambda: settled(stack), SETTLED_WITHIN_S, "nothing is pending")
    assert (total(stack, status="live"), total(stack, status="rejected")) == (SERVICES * len(KNOWN), UNKNOWN)
    assert_a_late_one_is_live(stack, "1")
    _, topics = stack.call("GET", "/api/v1/topics?limit=1")
    assert topics["total"] >= len(KNOWN) + UNKNOWN

    assert stack.processes["ingestor"].stop() == 0
    stack.start("ingestor")
    stack.healthy(SETTLED_WITHIN_S)
    eventually(lambda: settled(stack), SETTLED_WITHIN_S, "a new ingestor has taken all of them up")
    assert_a_late_one_is_live(stack, "5")


def assert_a_late_one_is_live(stack: Stack, interval: str) -> None:
    late, began_at = (
        stack.subscribe("late", channel_type="kline", symbol="BTCUSDT", interval=interval),
        time.monotonic(),
    )
    eventually(
        lambda: stack.call("GET", f"/api/v1/subscriptions/{late['id']}")[1]["status"] == "live",
        LIVE_WITHIN_S - (time.monotonic() - began_at),
        "the late one is live",
    )
