"""Which of the past a topic has not had yet."""

import json

from common.channels import of_topic
from ingestor.bybit.actions import Deliver
from ingestor.bybit.identity import Element
from ingestor.feed.backfill import ANSWER_WITHIN_S, OVERLAP_MS, Backfill, HeldPush, backfill_of

EXECUTION = of_topic("private", "execution")
TRADES = of_topic("linear", "publicTrade.BTCUSDT")


def executions(*ids: str) -> bytes:
    return json.dumps({"topic": "execution", "data": [{"execId": name} for name in ids]}).encode()


def trades(*told: tuple[str, int]) -> bytes:
    return json.dumps({"topic": TRADES.topic, "data": [{"i": name, "T": at} for name, at in told]}).encode()


def past(*told: tuple[str, int]) -> list[Element]:
    return [Element(name, at, b"{}") for name, at in told]


def names(found: list[Element]) -> list[str]:
    return [element.key for element in found]


def test_what_live_told_before_and_tells_after_is_not_missing():
    healing = Backfill(EXECUTION)
    healing.pushed(executions("a", "b"))
    assert healing.begin(window_ns=0, from_ms=10_000, now_ms=20_000, now=0.0) == 10_000 - OVERLAP_MS
    healing.held.append(HeldPush(Deliver("execution", executions("d"), 1), 1))
    found = healing.missing(past(("b", 9_000), ("c", 12_000), ("c", 12_000), ("d", 20_000), ("e", 21_000)))
    assert names(found) == ["c", "e"]


def test_live_pushes_of_private_topics_wait_and_those_of_markets_do_not():
    private, market = Backfill(EXECUTION), Backfill(TRADES)
    assert not private.holds
    for each in (private, market):
        each.begin(0, 0, 0, now=7.0)
    assert (private.holds, market.holds) == (True, False)
    assert private.until == 7.0 + ANSWER_WITHIN_S
    private.end(healed=True)
    assert not private.asking


def test_what_was_held_is_given_back_in_order():
    healing = Backfill(EXECUTION)
    healing.begin(0, 0, 0, 0.0)
    held = [HeldPush(Deliver("execution", executions(name), 1), 1) for name in "abc"]
    healing.held += held
    assert healing.end(healed=True) == held
    assert healing.held == []


def test_the_next_window_asks_for_what_could_not_be_healed_too():
    healing = Backfill(EXECUTION)
    healing.begin(0, from_ms=10_000, now_ms=11_000, now=0.0)
    healing.end(healed=False)
    assert healing.begin(0, from_ms=50_000, now_ms=51_000, now=9.0) == 10_000 - OVERLAP_MS
    healing.end(healed=True)
    assert healing.begin(0, from_ms=90_000, now_ms=91_000, now=9.0) == 90_000 - OVERLAP_MS


def test_trades_between_the_last_one_before_and_the_first_one_after_are_missing():
    healing = Backfill(TRADES)
    for number in range(30):  # far more than are remembered
        healing.pushed(trades((f"old{number}", 1_000 + number)))
    healing.begin(0, from_ms=2_000, now_ms=9_000, now=0.0)
    for number in range(30):
        healing.pushed(trades((f"new{number}", 5_000 + number)))
    told = past(("old3", 1_003), ("old29", 1_029), ("same", 1_029), ("gone", 3_000), ("new0", 5_000), ("new9", 5_009))
    assert names(healing.missing(told)) == ["same", "gone"]


def test_without_trades_around_the_window_its_own_times_count():
    healing = Backfill(TRADES)
    healing.begin(0, from_ms=2_000, now_ms=9_000, now=0.0)
    assert names(healing.missing(past(("a", 1_999), ("b", 2_000), ("c", 9_000), ("d", 9_001)))) == ["b", "c"]


def test_only_what_rest_can_tell_is_healed():
    assert backfill_of(of_topic("linear", "tickers.BTCUSDT")) is None
    assert backfill_of(of_topic("spread", "publicTrade.SOLUSDT_SOL/USDT")) is None
    assert backfill_of(of_topic("spot", "kline.1.BTCUSDT")) is not None
