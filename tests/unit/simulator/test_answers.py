"""REST answers from the same market and account that the sockets show."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import pytest

from simulator.account import Account
from simulator.answers import Refused, RestHandlers
from simulator.instruments import Catalogue
from simulator.market import Market

NOW_MS = 1_795_165_000_000
PRICES = {"BTCUSDT": Decimal("65114.30"), "ETHUSDT": Decimal("1922.48")}


@pytest.fixture(scope="module")
def handlers(listed: Catalogue) -> RestHandlers:
    account = Account(PRICES.__getitem__, 2000, NOW_MS - 60_000)
    account.passed(NOW_MS)
    markets = {category: Market(category, listed, 1) for category in ("linear", "spot", "inverse", "option")}
    return RestHandlers(listed, markets, account, "key")


def ask(handlers: RestHandlers, path: str, **query: str) -> Any:
    return (handlers.public() | handlers.private())[path](query, NOW_MS)


def instruments(handlers: RestHandlers, **query: str) -> Any:
    return ask(handlers, "/v5/market/instruments-info", **query)


def test_linear_instruments_come_in_pages(handlers: RestHandlers):
    first = instruments(handlers, category="linear")
    assert len(first["list"]) == 500
    assert first["nextPageCursor"].startswith("first%3D0GUSDT%26last%3D")
    second = instruments(handlers, category="linear", cursor=unquote(first["nextPageCursor"]))
    assert len(second["list"]) == 300
    assert second["nextPageCursor"] == ""
    assert len({*first["list"], *second["list"]}) == 800
    assert len(instruments(handlers, category="linear", limit="1000")["list"]) == 800


def test_spot_instruments_come_at_once_and_without_a_cursor(handlers: RestHandlers):
    answer = instruments(handlers, category="spot")
    assert list(answer) == ["category", "list"]
    symbols = {json.loads(row)["symbol"] for row in answer["list"]}
    assert len(symbols) > 500
    assert {"BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "XRPUSDT", "BTCUSDC"} <= symbols


def test_options_of_bitcoin_unless_asked_otherwise(handlers: RestHandlers):
    rows = [json.loads(row) for row in instruments(handlers, category="option")["list"]]
    assert {row["baseCoin"] for row in rows} == {"BTC"}
    assert "BTC-25JUN27-106000-P-USDT" in {row["symbol"] for row in rows}
    assert len({row["deliveryTime"] for row in rows}) > 3
    assert instruments(handlers, category="option", baseCoin="SOL")["list"]


@pytest.mark.parametrize(
    ("category", "sample"),
    [
        ("linear", None),
        ("inverse", "docs/rest.market.instrument.01.body.json"),
        ("option", "docs/rest.market.instrument.03.body.json"),
        ("spot", "docs/rest.market.instrument.04.body.json"),
    ],
)
def test_instrument_rows_have_the_shape_of_their_category(
    handlers: RestHandlers, real, category: str, sample: str | None
):
    rows = [json.loads(row) for row in instruments(handlers, category=category)["list"]]
    assert len({tuple(row) for row in rows}) == 1
    if sample is not None:
        answer = real(sample)["result"]
        assert list(rows[0]) == list(answer["list"][0])
        assert list(instruments(handlers, category=category)) == list(answer)


def test_status_and_base_coin_narrow_the_list(handlers: RestHandlers):
    assert instruments(handlers, category="linear", status="PreLaunch")["list"] == []
    bases = [json.loads(row)["baseCoin"] for row in instruments(handlers, category="inverse", baseCoin="BTC")["list"]]
    assert bases == ["BTC"] * 3


@pytest.mark.parametrize("category", ["spot", "linear"])
def test_a_symbol_that_does_not_trade_yet_is_listed_on_request(handlers: RestHandlers, category: str):
    new = replace(handlers.catalogue.of(category)[0], symbol="NEWUSDT", status="PendingOpen", row='{"symbol":"NEW"}')
    answering = replace(handlers, catalogue=Catalogue([new]))
    assert instruments(answering, category=category)["list"] == []
    assert instruments(answering, category=category, status="PendingOpen")["list"] == [new.row]
    assert instruments(answering, category=category, symbol="NEWUSDT")["list"] == [new.row]


@pytest.mark.parametrize(
    "query",
    [
        {"category": "futures"},
        {},
        {"category": "linear", "limit": "1001"},
        {"category": "linear", "limit": "-1"},
        {"category": "linear", "symbol": "NOPEUSDT"},
        {"category": "linear", "cursor": "first%3D0GUSDT%26last%3D0GUSDT"},
    ],
)
def test_bad_questions_about_instruments(handlers: RestHandlers, query: dict[str, str]):
    with pytest.raises(Refused) as refused:
        instruments(handlers, **query)
    assert refused.value.code == 10001


def test_trades_of_rest_are_those_that_were_pushed(handlers: RestHandlers):
    market = handlers.markets["spot"]
    market.open("publicTrade.SOLUSDT", NOW_MS)
    pushed = [json.loads(text) for at in range(20) for _, text in market.advance(NOW_MS + at * 1000)]
    rows = ask(handlers, "/v5/market/recent-trade", category="spot", symbol="SOLUSDT")["list"]
    market.close("publicTrade.SOLUSDT")
    ids = [row["i"] for frame in pushed for row in frame["data"]]
    assert [row["execId"] for row in rows] == ids[::-1][:60]
    assert (rows[-1]["price"], rows[-1]["size"]) == (pushed[0]["data"][0]["p"], pushed[0]["data"][0]["v"])


def test_candles_of_rest_are_those_that_were_pushed(handlers: RestHandlers):
    market = handlers.markets["linear"]
    pushed = [json.loads(text) for text in market.open("kline.1.XRPUSDT", NOW_MS)]
    pushed += [json.loads(text) for at in range(150) for _, text in market.advance(NOW_MS + at * 1000)]
    closed = [entry for frame in pushed for entry in frame["data"] if entry["confirm"]]
    query = {"category": "linear", "symbol": "XRPUSDT", "interval": "1", "limit": "5"}
    rows = handlers.kline(query, NOW_MS + 150_000)["list"]
    market.close("kline.1.XRPUSDT")
    by_start = {row[0]: row for row in rows}
    names = ("open", "high", "low", "close", "volume", "turnover")
    assert len(closed) == 3
    assert all(by_start[str(e["start"])][1:] == [e[name] for name in names] for e in closed)
    assert [int(row[0]) for row in rows] == sorted((int(row[0]) for row in rows), reverse=True)


def test_old_candles_are_always_the_same(handlers: RestHandlers):
    query = {"category": "inverse", "symbol": "BTCUSD", "interval": "W", "limit": "10"}
    first, again = (ask(handlers, "/v5/market/kline", **query)["list"] for _ in range(2))
    assert first == again
    assert len(first) == 10


@pytest.mark.parametrize("category", ["linear", "spot"])
def test_the_book_of_rest_is_the_one_that_was_pushed(handlers: RestHandlers, category: str):
    market = handlers.markets[category]
    pushed = json.loads(market.open("orderbook.50.ETHUSDT", NOW_MS)[0])
    answer = ask(handlers, "/v5/market/orderbook", category=category, symbol="ETHUSDT", limit="50")
    market.close("orderbook.50.ETHUSDT")
    assert (answer["b"], answer["a"]) == (pushed["data"]["b"], pushed["data"]["a"])
    assert (answer["u"], answer["seq"]) == (pushed["data"]["u"], pushed["data"]["seq"])


def test_wallet_leaves_out_empty_coins_unless_named(handlers: RestHandlers):
    rows = ask(handlers, "/v5/account/wallet-balance", accountType="UNIFIED")["list"][0]["coin"]
    assert [row["coin"] for row in rows] == ["USDT", "USDC", "BTC", "ETH"]
    named = ask(handlers, "/v5/account/wallet-balance", accountType="UNIFIED", coin="MNT,XYZ")["list"][0]["coin"]
    assert [(row["coin"], row["walletBalance"]) for row in named] == [("MNT", "0"), ("XYZ", "0")]


def test_wallet_knows_unified_accounts_only(handlers: RestHandlers):
    with pytest.raises(Refused):
        ask(handlers, "/v5/account/wallet-balance", accountType="FUND")


def test_executions_come_newest_first_in_pages(handlers: RestHandlers):
    seen: list[Any] = []
    cursor = ""
    while cursor or not seen:
        page = ask(handlers, "/v5/execution/list", category="linear", limit="10", cursor=unquote(cursor))
        seen += page["list"]
        cursor = page["nextPageCursor"]
    expected = [fill.exec_id for fill in handlers.account.fills if fill.category == "linear"]
    assert [row["execId"] for row in seen] == expected
    assert [row["execTime"] for row in seen] == sorted((row["execTime"] for row in seen), reverse=True)


def test_executions_in_a_span_of_time(handlers: RestHandlers):
    begin, end = NOW_MS - 20_000, NOW_MS - 10_000
    rows = ask(handlers, "/v5/execution/list", category="linear", startTime=str(begin), endTime=str(end))["list"]
    assert rows
    assert all(begin <= int(row["execTime"]) <= end for row in rows)
    with pytest.raises(Refused):
        ask(handlers, "/v5/execution/list", category="linear", startTime="0", endTime=str(NOW_MS))


def test_orders_open_and_closed(handlers: RestHandlers):
    closed = ask(handlers, "/v5/order/realtime", category="linear", settleCoin="USDT", openOnly="1")["list"]
    assert closed
    assert {row["orderStatus"] for row in closed} == {"Filled"}
    with pytest.raises(Refused):
        ask(handlers, "/v5/order/realtime", category="linear")


def test_positions_by_symbol_or_all_that_are_open(handlers: RestHandlers):
    (row,) = ask(handlers, "/v5/position/list", category="linear", symbol="BTCUSDT")["list"]
    assert row["symbol"] == "BTCUSDT"
    opened = ask(handlers, "/v5/position/list", category="linear", settleCoin="USDT")["list"]
    assert all(row["size"] != "0" for row in opened)


@pytest.mark.parametrize(
    ("path", "query", "sample"),
    [
        ("/v5/market/time", {}, "rest.market.time.01"),
        ("/v5/account/wallet-balance", {"accountType": "UNIFIED"}, "rest.account.wallet-balance.01"),
        ("/v5/market/orderbook", {"category": "linear", "symbol": "XRPUSDT"}, "rest.market.orderbook.01"),
        ("/v5/market/kline", {"category": "linear", "symbol": "XRPUSDT", "interval": "1"}, "rest.market.kline.01"),
        ("/v5/execution/list", {"category": "linear"}, "rest.order.execution.01"),
        ("/v5/position/list", {"category": "linear", "symbol": "BTCUSDT"}, "rest.position.position.01"),
        ("/v5/user/query-api", {}, "rest.user.apikey-info.01"),
    ],
)
def test_shapes(
    handlers: RestHandlers, real, shape: Callable[[Any], Any], path: str, query: dict[str, str], sample: str
):
    like, answer = real(f"docs/{sample}.body.json")["result"], ask(handlers, path, **query)
    for body in (like, answer):
        body.pop("ips", None)
    assert shape(answer) == shape(like)
