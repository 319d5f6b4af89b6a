"""All subscribers of a topic receive the same market, from its present state on and without a hole."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from simulator.instruments import Catalogue
from simulator.market import STEPS_AT_ONCE, Market
from simulator.recordings import Recorded, Recording
from simulator.tape import Tape, loop_of
from simulator.views import Levels
from simulator.walk import RandomMarket

NOW_MS = 1_795_165_000_000
PUT = "BTC-25JUN27-106000-P-USDT"


@pytest.fixture
def plain(market: Callable[[str], Market]) -> Market:
    """A linear market without the tape."""
    return market("linear")


def watch(market: Market, topic: str, seconds: float) -> list[Any]:
    """The pushes of a topic within some seconds, parsed."""
    pushed = [json.loads(text) for text in market.open(topic, NOW_MS)]
    for now_ms in range(NOW_MS + 20, NOW_MS + int(seconds * 1000), 20):
        pushed += [json.loads(text) for name, text in market.advance(now_ms) if name == topic]
    return pushed


def applied(book: dict[str, dict[str, str]], frame: Any) -> dict[str, dict[str, str]]:
    if frame["type"] == "snapshot":
        return {side: dict(frame["data"][side]) for side in "ba"}
    for side in "ba":
        for price, size in frame["data"][side]:
            if size == "0":
                del book[side][price]  # a level that was never pushed must not be deleted
            else:
                book[side][price] = size
    return book


def test_a_latecomer_to_the_tape_sees_the_same_book(linear: Market):
    early = watch(linear, "orderbook.200.BTCUSDT", 5)
    late_ms = NOW_MS + 5000
    late = [json.loads(text) for text in linear.open("orderbook.200.BTCUSDT", late_ms)]
    assert late[0]["data"]["u"] == early[-1]["data"]["u"]
    book: dict[str, dict[str, str]] = {}
    for frame in early:
        book = applied(book, frame)
    assert {side: dict(late[0]["data"][side]) for side in "ba"} == book
    after = [json.loads(t) for n, t in linear.advance(late_ms + 2000) if n == "orderbook.200.BTCUSDT"]
    assert after[0]["data"]["u"] == late[0]["data"]["u"] + 1


def test_a_latecomer_gets_the_merged_ticker(linear: Market):
    early = watch(linear, "tickers.BTCUSDT", 5)
    merged: dict[str, str] = {}
    for frame in early:
        merged |= frame["data"]
    late = json.loads(linear.open("tickers.BTCUSDT", NOW_MS + 5000)[0])
    assert late["type"] == "snapshot"
    assert late["data"] == merged
    assert late["cs"] == early[-1]["cs"]


def test_a_latecomer_gets_the_running_candle(linear: Market):
    early = watch(linear, "kline.1.SOLUSDT", 5)
    late = json.loads(linear.open("kline.1.SOLUSDT", NOW_MS + 5000)[0])
    assert late["data"] == early[-1]["data"][-1:]


def test_trades_and_liquidations_have_no_snapshot(linear: Market):
    topics = ("publicTrade.BTCUSDT", "allLiquidation.BTCUSDT", "publicTrade.XRPUSDT")
    assert [linear.open(topic, NOW_MS) for topic in topics] == [[], [], []]


@pytest.mark.parametrize("topic", ["orderbook.50.BTCUSDT", "orderbook.200.XRPUSDT", "orderbook.1000.XRPUSDT"])
def test_books_are_legal(request: pytest.FixtureRequest, plain: Market, topic: str):
    pushed = watch(request.getfixturevalue("linear") if "BTC" in topic else plain, topic, 10)
    depth = int(topic.split(".")[1])
    assert [frame["type"] for frame in pushed] == ["snapshot"] + ["delta"] * (len(pushed) - 1)
    assert [b["data"]["u"] - a["data"]["u"] for a, b in pairwise(pushed)] == [1] * (len(pushed) - 1)
    assert all(a["data"]["seq"] < b["data"]["seq"] for a, b in pairwise(pushed))
    book: dict[str, dict[str, str]] = {}
    for frame in pushed:
        assert frame["type"] == "snapshot" or frame["data"]["b"] or frame["data"]["a"]
        book = applied(book, frame)
        assert len(book["b"]) <= depth
        assert len(book["a"]) <= depth
        assert max(map(float, book["b"])) < min(map(float, book["a"]))


def test_a_deep_book_is_deep(plain: Market):
    snapshot = json.loads(plain.open("orderbook.1000.XRPUSDT", NOW_MS)[0])
    assert len(snapshot["data"]["b"]) == len(snapshot["data"]["a"]) == 1000


@pytest.mark.parametrize("symbol", ["BTCUSDT", "XRPUSDT"])
def test_level_1_knows_snapshots_only_and_trims_zeros(request: pytest.FixtureRequest, plain: Market, symbol: str):
    pushed = watch(request.getfixturevalue("linear") if symbol == "BTCUSDT" else plain, f"orderbook.1.{symbol}", 5)
    assert {frame["type"] for frame in pushed} == {"snapshot"}
    assert [b["data"]["u"] - a["data"]["u"] for a, b in pairwise(pushed)] == [1] * (len(pushed) - 1)
    assert not any(price.endswith("0") for frame in pushed for price, _ in frame["data"]["b"])


def test_level_1_repeats_itself_after_three_quiet_seconds(listed: Catalogue):
    quote = RandomMarket(listed.of("linear")[0], 1, NOW_MS).quote
    view = Levels(quote, 1, u=7)
    first = json.loads(view.opening(NOW_MS)[0])
    assert view.passed(NOW_MS + 2999, []) == []
    again = json.loads(view.passed(NOW_MS + 3000, [])[0])
    assert again["data"] == first["data"]
    assert again["ts"] == first["ts"] + 3000


def test_derivatives_tickers_push_changes(plain: Market):
    pushed = watch(plain, "tickers.XRPUSDT", 10)
    assert [frame["type"] for frame in pushed] == ["snapshot"] + ["delta"] * (len(pushed) - 1)
    for delta in pushed[1:]:
        assert next(iter(delta["data"])) == "symbol"
        assert ("bid1Price" in delta["data"]) == ("bid1Size" in delta["data"])
        assert ("ask1Price" in delta["data"]) == ("ask1Size" in delta["data"])
        assert 1 < len(delta["data"]) < len(pushed[0]["data"])


@pytest.mark.parametrize(("category", "symbol"), [("spot", "ETHUSDT"), ("option", PUT)])
def test_other_tickers_push_everything(market: Callable[[str], Market], category: str, symbol: str):
    pushed = watch(market(category), f"tickers.{symbol}", 5)
    assert {frame["type"] for frame in pushed} == {"snapshot"}
    assert len({tuple(frame["data"]) for frame in pushed}) == 1


def test_a_linear_candle_rolls_over_in_one_frame(plain: Market):
    pushed = watch(plain, "kline.1.XRPUSDT", 70)
    rolls = [frame for frame in pushed if frame["data"][0]["confirm"]]
    assert [[entry["confirm"] for entry in frame["data"]] for frame in rolls] == [[True, False]]
    old, new = rolls[0]["data"]
    assert new["start"] == old["end"] + 1
    assert (new["open"], new["volume"]) == (old["close"], "0")


def test_a_spot_candle_rolls_over_in_two_frames(market: Callable[[str], Market]):
    pushed = watch(market("spot"), "kline.1.ETHUSDT", 70)
    at = next(number for number, frame in enumerate(pushed) if frame["data"][0]["confirm"])
    old, new = pushed[at : at + 2]
    assert old["ts"] == new["ts"]
    assert new["data"][0]["start"] == old["data"][0]["end"] + 1
    assert all(len(frame["data"]) == 1 for frame in pushed)


def test_trades_of_one_frame_share_their_sequence_and_no_id_repeats(plain: Market):
    pushed = watch(plain, "publicTrade.XRPUSDT", 60)
    assert len(pushed) > 20
    assert all(len({row["seq"] for row in frame["data"]}) == 1 for frame in pushed)
    ids = [row["i"] for frame in pushed for row in frame["data"]]
    assert len(set(ids)) == len(ids)


def test_option_trades_of_a_base_coin_come_from_several_symbols(market: Callable[[str], Market]):
    pushed = watch(market("option"), "publicTrade.BTC", 20)
    assert len({frame["data"][0]["s"] for frame in pushed}) > 1


def test_options_stay_silent_on_topics_they_only_pretend_to_have(market: Callable[[str], Market]):
    option = market("option")
    assert option.knows(f"orderbook.50.{PUT}")
    assert watch(option, f"orderbook.50.{PUT}", 5) == []


def test_a_tape_that_knows_only_tickers_leaves_the_book_to_the_made_up_market(listed: Catalogue):
    text = '{"topic":"tickers.XRPUSDT","type":"snapshot","data":{"symbol":"XRPUSDT"},"cs":1,"ts":1786310820000}'
    recording = Recording("linear", (Recorded(0.0, "tickers.XRPUSDT", text),), frozenset(["tickers.XRPUSDT"]))
    market = Market("linear", listed, 1, Tape(loop_of(recording), "", NOW_MS))
    market.advance(NOW_MS)
    assert json.loads(market.open("tickers.XRPUSDT", NOW_MS)[0])["data"] == {"symbol": "XRPUSDT"}
    assert len(watch(market, "orderbook.50.XRPUSDT", 2)[0]["data"]["b"]) == 50


def test_topics_without_subscribers_are_not_pushed(plain: Market):
    watch(plain, "orderbook.50.XRPUSDT", 1)
    plain.close("orderbook.50.XRPUSDT")
    assert plain.advance(NOW_MS + 5000) == []


@pytest.mark.parametrize(
    ("category", "topic"),
    [
        ("linear", "orderbook.500.BTCUSDT"),
        ("linear", "orderbook.50.NOPEUSDT"),
        ("linear", "orderbook.50.btcusdt"),
        ("linear", "kline.2.BTCUSDT"),
        ("linear", "liquidation.BTCUSDT"),
        ("linear", "order"),
        ("linear", "insurance.inverse"),
        ("spot", "allLiquidation.BTCUSDT"),
        ("spot", "insurance.USDT"),
        ("inverse", "tickers.BTCUSDT"),
        ("option", f"publicTrade.{PUT}"),
        ("option", "tickers.BTCUSDT"),
        ("status", "tickers.BTCUSDT"),
        ("event", "tickers.BTCUSDT"),
        ("event", "event.ticker.all.NOPE.UpDown"),
        ("event", "event.ticker.all.BTC.Sideways"),
        ("linear", "event.ticker.all.BTC.UpDown"),
    ],
)
def test_topics_that_an_endpoint_does_not_have(market: Callable[[str], Market], category: str, topic: str):
    assert not market(category).knows(topic)


@pytest.mark.parametrize(
    ("category", "topic"),
    [
        ("linear", "insurance.USDC"),
        ("linear", "adlAlert.USDT"),
        ("linear", "kline.M.BTCPERP"),
        ("spot", "priceLimit.SOLUSDC"),
        ("inverse", "allLiquidation.ETHUSD"),
        ("inverse", "insurance.inverse"),
        ("option", "orderbook.100." + PUT),
        ("spread", "orderbook.25.SOLUSDT_SOL/USDT"),
        ("status", "system.status"),
        ("event", "event.ticker.all.BTC.UpDown"),
    ],
)
def test_topics_that_an_endpoint_has(market: Callable[[str], Market], category: str, topic: str):
    assert market(category).knows(topic)


def test_an_event_contract_is_pushed_every_second_while_it_is_subscribed(market: Callable[[str], Market]):
    topic, event = "event.ticker.all.BTC.UpDown", market("event")
    assert event.open(topic, NOW_MS) == []
    frames = [json.loads(text) for now_ms in range(NOW_MS, NOW_MS + 3000, 100) for _, text in event.advance(now_ms)]
    assert [(frame["topic"], frame["ts"]) for frame in frames] == [(topic, NOW_MS + ms) for ms in (0, 1000, 2000)]
    event.close(topic)
    assert event.advance(NOW_MS + 5000) == []


def test_a_symbol_picked_up_again_after_an_hour_costs_no_hour_of_steps(market: Callable[[str], Market]):
    spot = market("spot")
    first = spot.quote("ETHUSDT", NOW_MS)
    assert first is not None
    before = first.seq
    again = spot.quote("ETHUSDT", NOW_MS + 3_600_000)
    assert again is not None
    assert before < again.seq < before + 51 * 51


def test_a_symbol_moves_in_longer_strides_when_only_few_steps_are_allowed(listed: Catalogue):
    walk = RandomMarket(listed.of("linear")[0], 1, NOW_MS)
    before = walk.quote.seq
    walk.passed(NOW_MS + 10_000, most_steps=1)
    assert walk.quote.at_ms == NOW_MS + 10_000
    assert 1 <= walk.quote.seq - before <= 50, "one step raises it by at most 50"


def test_very_many_symbols_share_the_steps_of_one_look(listed: Catalogue, plain: Market):
    symbols = [instrument.symbol for instrument in listed.of("linear")][:200]
    for symbol in symbols:
        plain.open(f"tickers.{symbol}", NOW_MS)
    before = {symbol: plain.quote(symbol, NOW_MS).seq for symbol in symbols}  # type: ignore[union-attr]
    plain.advance(NOW_MS + 10_000)
    steps_of_5 = STEPS_AT_ONCE // len(symbols) * 50
    assert all(plain.quote(s, NOW_MS).seq - before[s] <= steps_of_5 for s in symbols)  # type: ignore[union-attr]


def test_a_symbol_moves_while_one_of_its_topics_is_held(plain: Market):
    for topic in ("tickers.BTCUSDT", "publicTrade.BTCUSDT"):
        plain.open(topic, NOW_MS)
    plain.close("tickers.BTCUSDT")
    assert len(watch(plain, "publicTrade.BTCUSDT", 60)) > 1


def test_a_symbol_of_which_nothing_is_held_moves_only_when_it_is_looked_at(plain: Market):
    plain.open("tickers.BTCUSDT", NOW_MS)
    plain.close("tickers.BTCUSDT")
    before = plain.quote("BTCUSDT", NOW_MS)
    assert before is not None
    number = before.seq
    plain.advance(NOW_MS + 5_000)
    assert before.seq == number
    after = plain.quote("BTCUSDT", NOW_MS + 10_000)
    assert after is not None
    assert after.seq > number
