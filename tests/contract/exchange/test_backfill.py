"""After a gap: what REST still knows is delivered once, in order, and never waited for too long."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from common.channels import of_topic
from ingestor.bybit import identity
from ingestor.feed.gaps import Gap
from tests.contract.exchange.conftest import Body, World
from tests.kit.waiting import eventually

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT")
PATHS = {"execution": "/v5/execution/list", "order": "/v5/order/realtime"}
AWAY_S = 2


def interrupt(world: World, endpoint: str) -> None:
    """Away for long enough that something happens meanwhile."""
    world.fault("handshake", endpoint=endpoint, form="429", retry_after_s=AWAY_S)
    world.control("abort", endpoint=endpoint)


def keys(kind: str, event: Body) -> list[str]:
    """The identities of the elements of an event."""
    if event["origin"] == "live":
        rows = event["data"]["data"]
        if kind == "kline":
            rows = [row for row in rows if row["confirm"]]
        return [identity._LIVE[kind](row) for row in rows]
    return [identity._REST[kind][0](event["data"])] if event["origin"] == "backfill" else []


def identities(world: World, topic: str) -> list[str]:
    kind = of_topic("private" if topic in PATHS else "linear", topic).channel_type
    return [key for event in world.events.of(topic) for key in keys(kind, event)]


def ids_in_rest(world: World, since_ms: int) -> set[str]:
    history = world.rest.history(of_topic("private", "execution"), since_ms, 0, time.monotonic() + 5)
    assert history.healed == "yes"
    return {element.key for element in history.elements}


def test_executions_and_orders_of_a_gap_are_published_between_its_events(world: World):
    world.want("private", "execution", "order", "wallet")
    world.flows("execution")
    world.flows("order")
    began_ms = int(world.live("execution")[0]["data"]["data"][0]["execTime"])
    interrupt(world, "private")
    for topic in ("execution", "order"):
        assert world.closed(topic)["healed"] == "yes"
        world.flows(topic)
        events = world.events.of(topic)
        kinds = [(event["origin"], event["data"].get("state")) for event in events]
        opened, closed = kinds.index(("gateway", "open")), kinds.index(("gateway", "closed"))
        between = [event for event in events[opened + 1 : closed] if event["type"] != "bybit.order.snapshot"]
        assert between, "nothing happened while we were away"
        assert {event["origin"] for event in between} == {"backfill"}
        assert {event["type"] for event in between} == {f"bybit.{topic}.backfill"}
        assert all(one["time"] <= next_["time"] for one, next_ in pairwise(between))
        after = next(event for event in events[closed:] if event["origin"] == "live")
        assert events[closed]["data"]["first_id"] in (after["id"], None)
        world.assert_counted(topic)
    seen = identities(world, "execution")
    assert len(seen) == len(set(seen)), "delivered twice"
    expected = ids_in_rest(world, began_ms)
    eventually(lambda: expected <= set(identities(world, "execution")), 10, "every execution is delivered")
    assert world.row("execution").healed == "yes"


@pytest.mark.parametrize("form", ["http", "error", "empty", "garbage"])
def test_a_rest_that_fails_changes_nothing(world: World, form: str):
    world.want("private", "execution")
    world.flows("execution")
    world.fault("rest", path=PATHS["execution"], form=form, count=100)
    interrupt(world, "private")
    assert world.closed("execution")["healed"] == "no"
    world.flows("execution")
    assert [event for event in world.events.of("execution") if event["origin"] == "backfill"] == []
    world.assert_counted("execution")


def test_a_rest_that_does_not_answer_is_waited_for_no_longer_than_five_seconds_and_nothing_is_lost(world: World):
    world.want("private", "execution")
    world.flows("execution")
    world.fault("rest", path=PATHS["execution"], form="hang", count=100)
    world.control("abort", endpoint="private")
    gap = world.closed("execution", within_s=15)
    assert gap["healed"] == "no"
    live = world.live("execution")
    first = next(n for n, event in enumerate(live) if event["id"] == gap["first_id"])
    assert live[first]["receivedtime"] < gap["to"], "it was read while REST was asked, and held back"
    world.assert_counted("execution")


def test_the_next_gap_heals_what_the_last_one_could_not(world: World):
    world.want("private", "execution")
    world.flows("execution")
    began_ms = int(world.live("execution")[0]["data"]["data"][0]["execTime"])
    world.fault("rest", path=PATHS["execution"], form="http", count=4)
    interrupt(world, "private")
    assert world.closed("execution")["healed"] == "no"
    world.flows("execution")
    world.control("abort", endpoint="private")
    assert world.closed("execution", 1)["healed"] == "yes"
    expected = ids_in_rest(world, began_ms)
    eventually(lambda: expected <= set(identities(world, "execution")), 10, "every execution is delivered")


def test_trades_of_a_gap_are_published_right_after_it(world: World):
    topics = [f"publicTrade.{symbol}" for symbol in SYMBOLS]
    world.want("linear", *topics)
    for topic in topics:
        world.flows(topic, more=1)
    interrupt(world, "linear")
    backfilled = 0
    for symbol, topic in zip(SYMBOLS, topics, strict=True):
        world.closed(topic)
        eventually(lambda topic=topic: world.row(topic).healed == "yes", 10, "the gap is healed")  # type: ignore[misc]
        seen = identities(world, topic)
        assert len(seen) == len(set(seen)), "delivered twice"
        listed = world.simulator.get("/v5/market/recent-trade", category="linear", symbol=symbol, limit=1000)
        ids = [row["execId"] for row in reversed(listed["result"]["list"])]
        assert set(ids[ids.index(seen[0]) : ids.index(seen[-1])]) <= set(seen)
        backfilled += len([event for event in world.events.of(topic) if event["origin"] == "backfill"])
        world.assert_counted(topic)
    assert backfilled, "nothing was traded while we were away"


def test_closed_candles_of_a_long_gap_are_published_once(open_world: Callable[..., World]):
    topic = "kline.1.BTCUSDT"
    since_s = int(time.time()) - 180
    world = open_world(earlier=[Gap("linear", topic, "restart", since_s * 10**9, None)])
    world.want("linear", topic)
    assert world.closed(topic)["cause"] == "restart"
    eventually(lambda: world.row(topic).healed == "yes", 10, "the gap is healed")
    starts = [int(event["data"][0]) for event in world.events.of(topic) if event["origin"] == "backfill"]
    minute = (since_s - 5) // 60 * 60_000
    assert starts[:3] == [minute, minute + 60_000, minute + 120_000]


def test_a_clock_that_is_wrong_hinders_no_topic(world: World):
    world.control("clock", skew_ms=-60_000)
    world.want("private", "wallet", "order", "position")
    for topic in ("wallet", "order", "position"):
        kind = of_topic("private", topic).channel_type

        def snapshots(topic: str = topic, kind: str = kind) -> list[dict[str, Any]]:
            return [event for event in world.events.of(topic) if event["type"] == f"bybit.{kind}.snapshot"]

        [first, *_] = eventually(snapshots, 10, f"a snapshot of {topic}")
        assert first["data"]["list"] is not None
        world.assert_counted(topic)


def test_the_key_is_looked_up(world: World):
    found = world.rest.key()
    assert found.expires_at is None
    assert found.permissions["ContractTrade"]
