"""Made-up messages have the keys of real ones, in the same order and of the same kinds."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from simulator.market import Market

NOW_MS = 1_795_165_000_000
PUT = "BTC-25JUN27-106000-P-USDT"
SPOT_MIXED = "public.spot.mixed.orderbook1-publicTrade.jsonl"
OPTION = "public.option.samples.2026-09.jsonl"


def pushed(market: Market, topic: str, seconds: int) -> list[Any]:
    frames = [json.loads(text) for text in market.open(topic, NOW_MS)]
    for now_ms in range(NOW_MS, NOW_MS + seconds * 1000, 100):
        frames += [json.loads(text) for name, text in market.advance(now_ms) if name == topic]
    return frames


@pytest.mark.parametrize(
    ("category", "topic", "kind", "sample", "line"),
    [
        ("linear", "orderbook.50.XRPUSDT", "delta", "public.linear.orderbook.50.delta.2026-03.jsonl", 0),
        ("linear", "orderbook.1.XRPUSDT", "snapshot", SPOT_MIXED, 1),
        ("linear", "tickers.XRPUSDT", "snapshot", "public.linear.ticker.snapshot.jsonl", 0),
        ("linear", "publicTrade.XRPUSDT", "snapshot", "public.linear.publicTrade.2026-03.jsonl", 0),
        ("linear", "allLiquidation.XRPUSDT", "snapshot", "public.linear.allLiquidation.jsonl", 0),
        ("linear", "kline.5.XRPUSDT", "snapshot", "docs/ws.public.kline.01.kline.5.BTCUSDT.json", 0),
        ("linear", "priceLimit.XRPUSDT", None, "docs/ws.public.order-price-limit.02.priceLimit.BTCUSDT.json", 0),
        ("linear", "insurance.USDT", "delta", "docs/ws.public.insurance-pool.02.insurance.USDT.json", 0),
        ("linear", "adlAlert.USDT", "snapshot", "docs/ws.public.adl-alert.01.adlAlert.USDT.json", 0),
        ("inverse", "tickers.BTCUSD", "snapshot", "public.inverse.tickers.2026-09.jsonl", 0),
        ("inverse", "tickers.BTCUSDZ26", "snapshot", "docs/ws.public.ticker.02.tickers.BTC-26DEC25.json", 0),
        ("inverse", "orderbook.200.BTCUSD", "delta", "public.linear.orderbook.50.delta.2026-03.jsonl", 0),
        ("spot", "orderbook.50.BTCUSDT", "snapshot", "public.spot.orderbook.50.jsonl", 1),
        ("spot", "orderbook.50.BTCUSDT", "delta", "public.spot.orderbook.50.jsonl", 2),
        ("spot", "orderbook.1.BTCUSDT", "snapshot", SPOT_MIXED, 1),
        ("spot", "publicTrade.BTCUSDT", "snapshot", SPOT_MIXED, 5),
        ("spot", "tickers.BTCUSDT", "snapshot", "docs/ws.public.ticker.04.tickers.BTCUSDT.json", 0),
        ("option", f"orderbook.25.{PUT}", "snapshot", OPTION, 1),
        ("option", f"tickers.{PUT}", "snapshot", OPTION, 2),
        ("option", "publicTrade.BTC", "snapshot", OPTION, 3),
        ("status", "system.status", None, "docs/ws.system.system-status.02.system.status.json", 0),
    ],
)
def test_key_order(market, real, shape, category: str, topic: str, kind: str | None, sample: str, line: int):
    like = shape(_filled(real(sample, line)))
    frames = [_filled(frame) for frame in pushed(market(category), topic, 15) if frame.get("type") == kind]
    assert frames
    assert all(shape(frame) == like for frame in frames)


def _filled(frame: Any) -> Any:
    """Deltas may leave a side of the book empty; the shape stays unknown."""
    data = frame["data"]
    if isinstance(data, dict) and "b" in data:
        data["b"], data["a"] = data["b"] or [["1", "1"]], data["a"] or [["1", "1"]]
    return frame


def test_spot_candles_say_their_type_first(market: Callable[[str], Market]):
    assert list(pushed(market("spot"), "kline.1.BTCUSDT", 1)[0]) == ["type", "topic", "data", "ts"]


def test_spot_trims_zeros(market: Callable[[str], Market]):
    for frame in pushed(market("spot"), "orderbook.50.DOGEUSDT", 3):
        numbers = [number for side in "ba" for level in frame["data"][side] for number in level]
        assert not any("." in number and number.endswith("0") for number in numbers)


def test_messages_hold_no_white_space(market: Callable[[str], Market]):
    assert " " not in market("inverse").open("tickers.BTCUSD", NOW_MS)[0]
