"""Gaps that are open, and gaps that the table does not have yet."""

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from common.channels import of_topic
from ingestor.control.gap_store import GapStore
from ingestor.feed.gaps import Gap

TICKER = of_topic("linear", "tickers.BTCUSDT")


def gap(opened_ns: int = 5, topic: str = TICKER.topic, **more: Any) -> Gap:
    return replace(Gap("linear", topic, "reset", opened_ns, None), **more)


@pytest.fixture
def store() -> GapStore:
    return GapStore()


def test_a_gap_keeps_its_id_and_no_other_has_it():
    assert gap().id == gap(closed_ns=9, healed="no").id
    assert len({gap().id, gap(6).id, gap(topic="tickers.X").id, replace(gap(), endpoint="spot").id}) == 4


def test_a_topic_has_one_open_gap_until_it_is_closed(store: GapStore):
    assert store.open_gap(TICKER) is None
    mine = store.add(gap())
    assert store.open_gap(TICKER) is mine
    store.close(mine, 9, "first", "yes")
    assert store.open_gap(TICKER) is None
    assert store.unwritten() == [gap(closed_ns=9, first_id="first", healed="yes")]


def test_a_gap_is_to_be_written_when_it_is_opened_and_again_when_it_is_closed(store: GapStore):
    mine = store.add(gap())
    assert store.unwritten() == [gap()]
    store.written(store.unwritten())
    assert store.unwritten() == []
    store.close(mine, 9, None, "no")
    assert store.unwritten() == [gap(closed_ns=9, healed="no")]


def test_gaps_are_counted_by_the_kind_of_their_cause(store: GapStore):
    def counted() -> float:
        labels = {"endpoint": "linear", "cause": "no answer"}
        return REGISTRY.get_sample_value("wsgw_gaps_total", labels) or 0.0

    before = counted()
    store.add(gap(cause="no answer: tickers.BTCUSDT"))
    store.add(gap(cause="no answer", topic="tickers.X"))
    assert counted() == before + 2


def test_the_gaps_of_earlier_runs_may_come_one_by_one():
    opened, closed = gap(), gap(topic="tickers.X", closed_ns=9, healed="no")
    store = GapStore(iter([opened, closed]))
    assert store.left_open([TICKER]) == {TICKER.topic}
    assert store.unwritten() == [closed]


def test_the_opening_and_the_end_of_a_gap_are_logged(store: GapStore):
    with capture_logs() as lines:
        store.close(store.add(gap(5_000)), 2_000_005_000, None, "no")
    assert lines == [
        {
            "event": "gap opened",
            "log_level": "warning",
            "endpoint": "linear",
            "topic": TICKER.topic,
            "cause": "reset",
            "since": "1970-01-01T00:00:00.000005Z",
        },
        {
            "event": "gap closed",
            "log_level": "info",
            "endpoint": "linear",
            "topic": TICKER.topic,
            "cause": "reset",
            "lasted_s": 2.0,
        },
    ]


def test_what_changed_while_it_was_written_is_written_again(store: GapStore):
    mine = store.add(gap())
    being_written = store.unwritten()
    store.close(mine, 9, None, "no")
    store.written(being_written)
    [left] = store.unwritten()
    assert left.closed_ns == 9
    store.written([left])
    assert store.unwritten() == []


def test_the_outcome_of_a_backfill_is_written_when_it_is_known(store: GapStore):
    mine = store.add(gap())
    store.close(mine, 9, None, None)
    store.written(store.unwritten())
    store.record_backfill(mine, "in part")
    assert [each.healed for each in store.unwritten()] == ["in part"]


def test_a_gap_that_an_earlier_run_left_open_continues_as_it_was():
    store = GapStore([gap(3, last_id="last")])
    assert store.left_open([TICKER, of_topic("spot", TICKER.topic)]) == {TICKER.topic}
    assert store.open_gap(TICKER) is None
    assert store.add(gap(5)) == gap(3, last_id="last")
    assert store.left_open([TICKER]) == frozenset()
    assert store.for_next_run() == [gap(3, last_id="last")]


def test_a_gap_that_an_earlier_run_left_open_ends_when_its_topic_is_not_subscribed_any_more():
    store = GapStore([gap(3), gap(3, topic="tickers.X")])
    store.close_unsubscribed({("linear", TICKER.topic)}, now_ns=9)
    assert store.unwritten() == [gap(3, topic="tickers.X", closed_ns=9, healed="no")]
    assert [each.topic for each in store.for_next_run() if each.closed_ns is None] == [TICKER.topic]


def test_what_an_earlier_run_closed_without_writing_it_is_written_and_no_more():
    store = GapStore([gap(3, closed_ns=4, healed="no")])
    assert [each.closed_ns for each in store.unwritten()] == [4]
    assert store.left_open([TICKER]) == frozenset()
    assert [each.closed_ns for each in store.for_next_run()] == [4]
    store.written(store.unwritten())
    assert store.for_next_run() == []


def test_the_next_run_learns_of_open_gaps_and_of_ends_that_are_not_written(store: GapStore):
    store.add(gap(1))
    ended = store.add(gap(2, topic="tickers.X"))
    store.close(ended, 9, None, "no")
    assert {(each.topic, each.closed_ns) for each in store.for_next_run()} == {(TICKER.topic, None), ("tickers.X", 9)}
    store.written(store.unwritten())
    assert [each.topic for each in store.for_next_run()] == [TICKER.topic]
