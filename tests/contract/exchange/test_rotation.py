"""A connection that is replaced while it is well: no gap, nothing twice."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import requests

from common.settings import Credentials
from tests.contract.exchange.conftest import World
from tests.contract.exchange.test_backfill import identities
from tests.kit.waiting import eventually

BOOK, LEVEL_1 = "orderbook.50.BTCUSDT", "orderbook.1.ETHUSDT"
TRADES = "publicTrade.BTCUSDT"
TICKER = "tickers.BTCUSDT"
CANDLES = "kline.1.BTCUSDT"
QUIET = "allLiquidation.BTCUSDT"


def connections(world: World, endpoint: str) -> list[str]:
    found = requests.get(f"{world.simulator.rest_url}/control/connections", timeout=5).json()["connections"]
    return [each["id"] for each in found if each["endpoint"] == endpoint]


def replaced(world: World, endpoint: str, before: list[str]) -> bool:
    now = connections(world, endpoint)
    return len(now) == 1 and now != before


def assert_untouched(world: World, *topics: str) -> None:
    for topic in topics:
        assert [event for event in world.events.of(topic) if event["type"] == "bybit.gap"] == []
        world.assert_counted(topic)
        ids = [event["id"] for event in world.live(topic)]
        assert topic == LEVEL_1 or len(ids) == len(set(ids)), f"{topic}: something came twice"


def test_a_connection_that_is_old_is_replaced_and_nobody_notices(open_world: Callable[..., World]):
    world = open_world(oldest_s=2.0)
    topics = (BOOK, LEVEL_1, TRADES, TICKER, CANDLES, QUIET)
    world.want("linear", *topics)
    world.flows(BOOK)
    for _ in range(2):
        before = connections(world, "linear")
        eventually(lambda before=before: replaced(world, "linear", before), 30, "it is replaced")  # type: ignore[misc]
        world.flows(BOOK, more=20)
        world.flows(TRADES, more=1)
    assert_untouched(world, *topics)
    updates = [event["data"]["data"]["u"] for event in world.live(BOOK)]
    assert all(after == one + 1 for one, after in pairwise(updates)), "the book goes on without a hole"
    seen = identities(world, TRADES)
    assert len(seen) == len(set(seen)), "delivered twice"
    listed = world.simulator.get("/v5/market/recent-trade", category="linear", symbol="BTCUSDT", limit=1000)
    ids = [row["execId"] for row in reversed(listed["result"]["list"])]
    assert ids[ids.index(seen[0]) : ids.index(seen[-1]) + 1] == seen


class Renewed(Credentials):
    """The same again, and yet not equal: the simulator knows one pair only."""


def test_new_credentials_of_a_live_socket_are_taken_up_and_bad_ones_are_not(world: World):
    world.want("private", "execution", "wallet")
    world.flows("execution")
    before = connections(world, "private")
    world.account.credentials = Credentials("simulator-key", "not-the-secret")
    world.pool.renew(world.account.credentials)
    world.flows("execution", more=10)
    assert connections(world, "private") == before
    world.account.credentials = Renewed("simulator-key", "simulator-secret")
    world.pool.renew(world.account.credentials)
    eventually(lambda: replaced(world, "private", before), 20, "it is replaced")
    world.flows("execution")
    assert_untouched(world, "execution", "wallet")
    seen = identities(world, "execution")
    assert len(seen) == len(set(seen)), "delivered twice"


@pytest.mark.parametrize("how", ["abort", "drop"])
def test_a_successor_that_dies_changes_nothing(open_world: Callable[..., World], how: str):
    world = open_world(oldest_s=1.0)
    world.want("linear", BOOK, QUIET)
    world.flows(BOOK)
    [before] = connections(world, "linear")
    second = eventually(lambda: [each for each in connections(world, "linear") if each != before], 10, "a second one")
    world.control(how, connection=second[0])
    world.flows(BOOK, more=50)
    assert connections(world, "linear") == [before]
    assert_untouched(world, BOOK, QUIET)


@pytest.mark.parametrize("how", ["abort", "stall"])
def test_a_successor_that_is_ready_takes_over_from_a_connection_that_dies(open_world: Callable[..., World], how: str):
    world = open_world(oldest_s=1.0)
    world.want("linear", BOOK, QUIET)  # the quiet one keeps both open for some seconds
    world.flows(BOOK)
    [before] = connections(world, "linear")
    eventually(lambda: len(connections(world, "linear")) == 2, 10, "a second one")
    world.flows(BOOK, more=3)
    if how == "stall":  # says nothing more, and is still there
        world.fault("stall", connection=before)
    else:
        world.control("abort", connection=before)
    world.flows(BOOK, more=20)
    assert_untouched(world, BOOK, QUIET)
    updates = [event["data"]["data"]["u"] for event in world.live(BOOK)]
    assert all(after == one + 1 for one, after in pairwise(updates)), "the book goes on without a hole"
