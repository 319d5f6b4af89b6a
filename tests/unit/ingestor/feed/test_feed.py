"""Reports of the session, drops and answers of REST in; events, requests and resubscriptions out."""

import json

import pytest

from common.channels import of_topic
from ingestor.bybit.actions import Deliver
from ingestor.bybit.heartbeat import NEVER
from ingestor.bybit.identity import Element
from ingestor.control.gap_store import GapStore
from ingestor.feed.backfill import ANSWER_WITHIN_S, OVERLAP_MS
from ingestor.feed.feed import OVERFLOW_OVER_AFTER_S, BackfillFinished, Resubscribe
from ingestor.feed.gaps import Gap
from tests.unit.ingestor.feed.kit import WALL_NS, Answer, Feeding

TICKER, TRADES, BOOK, BEST = "tickers.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT"
EXECUTION = "execution"


def trade(number: int) -> bytes:
    return json.dumps({"topic": TRADES, "data": [{"i": f"t{number}", "T": WALL_NS // 10**6 + number}]}).encode()


def execution(number: int) -> bytes:
    return json.dumps({"topic": EXECUTION, "data": [{"execId": f"e{number}"}]}).encode()


def element(key: str) -> Element:
    return Element(key, WALL_NS // 10**6, json.dumps(key).encode())


def recovering(it: Feeding) -> bool:
    return it.feed.is_recovering


def merging(it: Feeding) -> bool:
    return it.feed.is_merging


@pytest.fixture
def public() -> Feeding:
    return Feeding("linear")


@pytest.fixture
def private() -> Feeding:
    return Feeding("private")


# -- gaps ---------------------------------------------------------------------------------------------------


def test_a_push_is_an_event_of_its_topic(public: Feeding):
    assert public.deliver(TICKER, b"1") == ["live 1"]
    topic = public.feed.topics[TICKER]
    assert (topic.events, topic.last_frame, topic.last_received_ns) == (1, b"1", WALL_NS)


def test_an_interruption_is_a_gap_from_its_begin_to_its_end(public: Feeding):
    public.deliver(TICKER, b"1")
    public.now = 10.0
    assert public.interrupt(TICKER, "reset", since=7.0) == ["gap open"]
    public.now = 12.0
    assert public.resume(TICKER, b"2") == ["gap closed"]
    public.deliver(TICKER, b"2")
    before, opened, closed, after = public.events(TICKER)
    assert [event["sequence"][-1] for event in public.events(TICKER)] == ["1", "2", "3", "4"]
    assert opened["data"] | {"cause": "reset", "from": "2023-11-14T22:13:27.000000Z", "to": None} == opened["data"]
    assert closed["data"] | {"to": "2023-11-14T22:13:32.000000Z", "healed": "no"} == closed["data"]
    assert (closed["data"]["last_id"], closed["data"]["first_id"]) == (before["id"], after["id"])
    [gap] = public.gaps.unwritten()
    assert (gap.opened_ns, gap.closed_ns) == (WALL_NS + 7 * 10**9, WALL_NS + 12 * 10**9)


def test_a_gap_that_is_open_is_not_opened_again_nor_closed_twice(public: Feeding):
    public.interrupt(TICKER)
    assert public.interrupt(TICKER, "silent") == []
    public.resume(TICKER)
    assert public.resume(TICKER) == []


def test_the_gap_of_an_earlier_run_is_opened_as_it_was():
    public = Feeding("linear", GapStore([Gap("linear", TICKER, "silent", 3_000_000_000, "last")]))
    assert public.feed.left_open([of_topic("linear", TICKER), of_topic("linear", TRADES)]) == {TICKER}
    public.interrupt(TICKER, "restart")
    [opened] = public.events(TICKER)
    assert (
        opened["data"] | {"cause": "silent", "from": "1970-01-01T00:00:03.000000Z", "last_id": "last"} == opened["data"]
    )


# -- drops --------------------------------------------------------------------------------------------------


def test_dropped_events_are_a_gap_until_nothing_was_dropped_for_a_while(public: Feeding):
    assert public.drop(TICKER, oldest_s=100) == ["gap open"]
    public.now = 2.0
    assert public.drop(TICKER, oldest_s=150) == []
    assert public.feed.due_at() == 2.0 + OVERFLOW_OVER_AFTER_S
    assert recovering(public)
    assert public.passes(OVERFLOW_OVER_AFTER_S - 0.1) == []
    assert public.deliver(TICKER, b"1") == ["live 1"]
    assert public.passes(0.1) == ["gap closed"]
    assert public.feed.due_at() == NEVER
    assert not recovering(public)
    assert public.events(TICKER)[0]["data"]["cause"] == "overflow"
    assert public.gaps.unwritten()[0].opened_ns == 100 * 10**9


def test_a_gap_lasts_until_both_the_drops_and_the_interruption_are_over(public: Feeding):
    public.interrupt(TICKER)
    public.drop(TICKER)
    assert public.resume(TICKER) == []
    assert public.passes(OVERFLOW_OVER_AFTER_S) == ["gap closed"]
    public.drop(TICKER)
    public.interrupt(TICKER)
    assert public.passes(OVERFLOW_OVER_AFTER_S) == []
    assert public.resume(TICKER) == ["gap closed"]


def test_a_book_with_dropped_changes_is_subscribed_again_and_whole_with_its_snapshot(public: Feeding):
    public.drop(BOOK)
    assert public.passes(OVERFLOW_OVER_AFTER_S) == ["Resubscribe"]
    assert public.outputs[-1] == Resubscribe(BOOK)
    assert public.interrupt(BOOK, "overflow") == []  # what the session reports of it
    assert public.deliver(BOOK, b"1") == ["live 1"]
    assert public.resume(BOOK) == ["gap closed"]


def test_a_book_that_is_being_subscribed_again_is_so_once(public: Feeding):
    public.drop(BOOK)
    assert public.passes(OVERFLOW_OVER_AFTER_S) == ["Resubscribe"]
    public.drop(BOOK)
    assert public.passes(OVERFLOW_OVER_AFTER_S) == []
    assert public.resume(BOOK) == ["gap closed"]


def test_the_best_prices_are_whole_with_each_push(public: Feeding):
    public.drop(BEST)
    assert public.passes(OVERFLOW_OVER_AFTER_S) == ["gap closed"]


def test_a_book_that_is_interrupted_anyway_is_not_subscribed_again(public: Feeding):
    public.drop(BOOK)
    public.interrupt(BOOK)
    assert public.passes(OVERFLOW_OVER_AFTER_S) == []
    assert public.resume(BOOK) == ["gap closed"]


# -- backfill -----------------------------------------------------------------------------------------------


def test_private_pushes_wait_until_rest_has_answered(private: Feeding):
    private.deliver(EXECUTION, execution(1))
    private.interrupt(EXECUTION)
    private.now = 2.0
    assert private.resume(EXECUTION, execution(4)) == ["BackfillRequest"]
    assert private.deliver(EXECUTION, execution(4)) == []
    assert recovering(private)
    [request] = private.requests
    assert (request.to_ms, request.answer_by) == (private.at.exchange_ms, 2.0 + ANSWER_WITHIN_S)
    assert request.since_ms == WALL_NS // 10**6 - OVERLAP_MS
    answer = Answer(tuple(element(f"e{number}") for number in (1, 2, 3, 4)))
    words = private.answer(request, answer)
    assert words == [
        'backfill "e2"',
        'backfill "e3"',
        "gap closed",
        f"live {execution(4).decode()}",
        "BackfillFinished",
    ]
    closed, after = private.events(EXECUTION)[-2:]
    assert (closed["data"]["healed"], closed["data"]["first_id"]) == ("yes", after["id"])
    assert private.outputs[-1] == BackfillFinished(EXECUTION, "yes", 2, ())
    assert not recovering(private)
    assert private.deliver(EXECUTION, execution(5)) == [f"live {execution(5).decode()}"]


def test_public_pushes_do_not_wait_and_the_outcome_is_recorded_later(public: Feeding):
    public.deliver(TRADES, trade(1))
    public.interrupt(TRADES)
    assert public.resume(TRADES, trade(4)) == ["BackfillRequest", "gap closed"]
    assert public.deliver(TRADES, trade(4)) == [f"live {trade(4).decode()}"]
    assert public.events(TRADES)[-2]["data"]["healed"] is None
    history = tuple(Element(f"t{n}", WALL_NS // 10**6 + n, b"0") for n in (1, 2, 3, 4, 5))
    words = public.answer(public.requests[0], Answer(history, "in part", ("spot: no answer",)))
    assert words == ["backfill 0", "backfill 0", "BackfillFinished"]
    assert public.gaps.unwritten()[0].healed == "in part"
    assert public.outputs[-1] == BackfillFinished(TRADES, "in part", 2, ("spot: no answer",))


def test_rest_is_not_waited_for_any_longer_than_promised(private: Feeding):
    private.interrupt(EXECUTION)
    private.resume(EXECUTION)
    private.deliver(EXECUTION, execution(1))
    assert private.feed.due_at() == ANSWER_WITHIN_S
    assert private.passes(ANSWER_WITHIN_S - 0.1) == []
    words = private.passes(0.1)
    assert words == ["gap closed", f"live {execution(1).decode()}", "BackfillFinished"]
    assert private.events(EXECUTION)[-2]["data"]["healed"] == "no"
    assert private.outputs[-1] == BackfillFinished(EXECUTION, "no", 0, ("no answer in time",))
    assert private.answer(private.requests[0], Answer((element("e0"),))) == []
    assert private.feed.due_at() == NEVER


def test_what_could_not_be_backfilled_is_asked_for_again_after_the_next_gap(private: Feeding):
    private.interrupt(EXECUTION)
    private.resume(EXECUTION)
    private.passes(ANSWER_WITHIN_S)
    private.now = 100.0
    private.interrupt(EXECUTION)
    private.resume(EXECUTION)
    first, second = private.requests
    assert second.since_ms == first.since_ms
    assert private.answer(first, Answer((element("e0"),))) == []
    assert private.answer(second, Answer((element("e0"),))) == ['backfill "e0"', "gap closed", "BackfillFinished"]


def test_the_answer_to_a_request_from_before_the_topic_was_forgotten_is_too_late(private: Feeding):
    private.interrupt(EXECUTION)
    private.resume(EXECUTION)
    private.passes(ANSWER_WITHIN_S)
    private.feed.forget_others([])
    private.interrupt(EXECUTION)
    private.resume(EXECUTION)
    first, second = private.requests
    assert private.answer(first, Answer()) == []
    assert private.answer(second, Answer()) == ["gap closed", "BackfillFinished"]


def test_pushes_that_waited_for_a_backfill_are_known_to_the_next_one(private: Feeding):
    for _ in range(2):
        private.interrupt(EXECUTION)
        private.resume(EXECUTION)
        if len(private.requests) == 1:
            private.deliver(EXECUTION, execution(1))
        private.answer(private.requests[-1], Answer((element("e1"),)))
    assert [event["origin"] for event in private.events(EXECUTION)].count("backfill") == 0


def test_another_interruption_ends_the_backfill_and_opens_a_gap_of_its_own(private: Feeding):
    private.interrupt(EXECUTION)
    private.resume(EXECUTION)
    private.deliver(EXECUTION, execution(1))
    private.now = 1.0
    assert private.interrupt(EXECUTION) == [
        "gap closed",
        f"live {execution(1).decode()}",
        "BackfillFinished",
        "gap open",
    ]


def test_backfills_are_given_up_when_the_worker_stops(private: Feeding):
    private.interrupt(EXECUTION)
    private.resume(EXECUTION)
    private.deliver(EXECUTION, execution(1))
    outputs = private.keep(private.feed.give_up_backfills(private.at))
    assert outputs == ["gap closed", f"live {execution(1).decode()}", "BackfillFinished"]


def test_a_topic_that_is_not_subscribed_any_more_is_not_backfilled(private: Feeding):
    private.interrupt(EXECUTION)
    assert private.resume(EXECUTION, subscribed=False) == ["gap closed"]
    assert private.events(EXECUTION)[-1]["data"]["healed"] == "no"


def test_a_topic_is_forgotten_once_nothing_of_it_is_under_way(private: Feeding):
    private.interrupt(EXECUTION)
    private.resume(EXECUTION)
    private.deliver("order", b"1")
    private.drop("position")
    private.feed.forget_others(["wallet"])
    assert private.feed.topics.keys() == {EXECUTION, "position"}
    private.passes(ANSWER_WITHIN_S)
    private.feed.forget_others(["position"])
    assert private.feed.topics.keys() == {"position"}


# -- two connections ----------------------------------------------------------------------------------------


def test_the_replacement_continues_where_the_first_connection_ended(public: Feeding):
    public.deliver(TRADES, trade(1))
    public.feed.begin_merge([of_topic("linear", TRADES)])
    assert merging(public)
    for number in (1, 2):
        public.feed.replacement_delivered(Deliver(TRADES, trade(number), 1), public.at.wall_ns)
    assert public.feed.is_synced(TRADES)
    assert public.deliver(TRADES, trade(2)) == [f"live {trade(2).decode()}"]
    public.feed.replacement_delivered(Deliver(TRADES, trade(3), 1), public.at.wall_ns)
    public.keep(list(public.feed.switch()))
    assert public.deliver(TRADES, trade(4)) == [f"live {trade(4).decode()}"]
    assert not merging(public)
    assert [event["data"]["data"][0]["i"] for event in public.events(TRADES)] == ["t1", "t2", "t3", "t4"]


def test_what_the_first_connection_delivered_is_not_delivered_again_after_the_switch(public: Feeding):
    public.feed.begin_merge([of_topic("linear", TRADES)])
    public.deliver(TRADES, trade(1))
    public.deliver(TRADES, trade(2))
    assert public.feed.switch() == []
    assert public.deliver(TRADES, trade(1)) == []
    assert public.deliver(TRADES, trade(2)) == []
    assert merging(public)
    assert public.deliver(TRADES, trade(3)) == [f"live {trade(3).decode()}"]
    assert not merging(public)


def test_a_merge_is_over_when_the_replacement_was_ahead_of_every_topic(public: Feeding):
    public.feed.begin_merge([of_topic("linear", TRADES), of_topic("linear", TICKER)])
    public.feed.replacement_delivered(Deliver(TRADES, trade(1), 1), public.at.wall_ns)
    public.feed.replacement_delivered(Deliver(TICKER, b'{"data":1}', 1), public.at.wall_ns)
    assert public.keep(list(public.feed.switch())) == [f"live {trade(1).decode()}", 'live {"data": 1}']
    assert public.deliver(TRADES, trade(2)) == [f"live {trade(2).decode()}"]
    assert not merging(public)


def test_what_the_replacement_brings_of_other_topics_is_ignored(public: Feeding):
    public.feed.begin_merge([of_topic("linear", TRADES)])
    public.feed.replacement_delivered(Deliver(TICKER, b'{"data":1}', 1), public.at.wall_ns)
    assert public.feed.switch() == []


def test_a_gap_ends_the_merge(public: Feeding):
    public.feed.begin_merge([of_topic("linear", TRADES)])
    public.feed.replacement_delivered(Deliver(TRADES, trade(9), 1), public.at.wall_ns)
    public.interrupt(TICKER)
    assert not merging(public)
    assert public.feed.switch() == []


def test_a_topic_that_is_subscribed_meanwhile_is_merged_too(public: Feeding):
    public.feed.begin_merge([of_topic("linear", TICKER)])
    public.deliver(TRADES, trade(1))
    public.feed.begin_merge([of_topic("linear", TICKER), of_topic("linear", TRADES)])
    public.feed.replacement_delivered(Deliver(TRADES, trade(1), 1), public.at.wall_ns)
    assert public.feed.is_synced(TRADES)
    assert not public.feed.is_synced(TICKER)
