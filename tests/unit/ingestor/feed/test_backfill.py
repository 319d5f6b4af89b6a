"""Which elements of a REST answer a topic has not delivered yet."""

import json

from common.channels import of_topic
from ingestor.bybit.actions import Deliver
from ingestor.bybit.identity import Element
from ingestor.feed.backfill import ANSWER_WITHIN_S, OVERLAP_MS, Backfill, HeldPush, backfill_of
from ingestor.feed.gaps import Gap

GAP = Gap("private", "execution", "reset", 0, None)
EXECUTION = of_topic("private", "execution")
TRADES = of_topic("linear", "publicTrade.BTCUSDT")


def executions(*ids: str) -> bytes:
    return json.dumps({"topic": "execution", "data": [{"execId": name} for name in ids]}).encode()


def trades(*found: tuple[str, int]) -> bytes:
    return json.dumps({"topic": TRADES.topic, "data": [{"i": name, "T": at} for name, at in found]}).encode()


def elements(*found: tuple[str, int]) -> list[Element]:
    return [Element(name, at, b"{}") for name, at in found]


def names(found: list[Element]) -> list[str]:
    return [element.key for element in found]


def test_what_live_pushes_delivered_before_or_will_deliver_is_not_missing():
    backfill = Backfill(EXECUTION)
    backfill.pushed(executions("a", "b"))
    assert backfill.begin(GAP, from_ms=10_000, to_ms=20_000, now=0.0).since_ms == 10_000 - OVERLAP_MS
    backfill.held.append(HeldPush(Deliver("execution", executions("d"), 1), 1))
    found = backfill.missing(elements(("b", 9_000), ("c", 12_000), ("c", 12_000), ("d", 20_000), ("e", 21_000)))
    assert names(found) == ["c", "e"]


def test_live_pushes_of_private_topics_wait_and_those_of_markets_do_not():
    private, market = Backfill(EXECUTION), Backfill(TRADES)
    assert not private.holds
    for each in (private, market):
        each.begin(GAP, 0, 0, now=7.0)
    assert (private.holds, market.holds) == (True, False)
    assert private.due_at == 7.0 + ANSWER_WITHIN_S
    private.end(complete=True)
    assert not private.running
    assert private.due_at == float("inf")


def test_what_was_held_is_given_back_in_order():
    backfill = Backfill(EXECUTION)
    backfill.begin(GAP, 0, 0, 0.0)
    held = [HeldPush(Deliver("execution", executions(name), 1), 1) for name in "abc"]
    backfill.held += held
    assert backfill.end(complete=True) == held
    assert backfill.held == []


def test_the_next_request_includes_what_the_last_one_could_not_get():
    backfill = Backfill(EXECUTION)
    backfill.begin(GAP, from_ms=10_000, to_ms=11_000, now=0.0)
    backfill.end(complete=False)
    assert backfill.begin(GAP, from_ms=50_000, to_ms=51_000, now=9.0).since_ms == 10_000 - OVERLAP_MS
    backfill.end(complete=True)
    assert backfill.begin(GAP, from_ms=90_000, to_ms=91_000, now=9.0).since_ms == 90_000 - OVERLAP_MS


def test_an_element_that_was_backfilled_is_not_missing_in_the_next_gap():
    backfill = Backfill(EXECUTION)
    backfill.begin(GAP, from_ms=10_000, to_ms=11_000, now=0.0)
    assert names(backfill.missing(elements(("a", 10_500)))) == ["a"]
    backfill.end(complete=True)
    backfill.begin(GAP, from_ms=12_000, to_ms=13_000, now=2.0)
    assert names(backfill.missing(elements(("a", 10_500), ("b", 12_500)))) == ["b"]


def test_trades_between_the_last_one_before_and_the_first_one_after_are_missing():
    backfill = Backfill(TRADES)
    for number in range(30):  # far more than are remembered
        backfill.pushed(trades((f"old{number}", 1_000 + number)))
    backfill.begin(GAP, from_ms=2_000, to_ms=9_000, now=0.0)
    for number in range(30):
        backfill.pushed(trades((f"new{number}", 5_000 + number)))
    history = elements(
        ("old3", 1_003), ("old29", 1_029), ("same", 1_029), ("gone", 3_000), ("new0", 5_000), ("new9", 5_009)
    )
    assert names(backfill.missing(history)) == ["same", "gone"]


def test_without_trades_around_the_window_its_own_times_count():
    backfill = Backfill(TRADES)
    backfill.begin(GAP, from_ms=2_000, to_ms=9_000, now=0.0)
    assert names(backfill.missing(elements(("a", 1_999), ("b", 2_000), ("c", 9_000), ("d", 9_001)))) == ["b", "c"]


def test_an_answer_to_an_earlier_request_is_of_no_use():
    backfill = Backfill(EXECUTION)
    first = backfill.begin(GAP, 0, 0, 0.0)
    assert backfill.awaits(first)
    backfill.end(complete=False)
    assert not backfill.awaits(first)
    second = backfill.begin(GAP, 0, 0, 0.0)
    assert not backfill.awaits(first)
    assert backfill.awaits(second)


def test_only_what_rest_offers_is_backfilled():
    assert backfill_of(of_topic("linear", "tickers.BTCUSDT")) is None
    assert backfill_of(of_topic("spread", "publicTrade.SOLUSDT_SOL/USDT")) is None
    assert backfill_of(of_topic("spot", "kline.1.BTCUSDT")) is not None
