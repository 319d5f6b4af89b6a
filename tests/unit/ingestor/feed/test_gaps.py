"""Windows in which something may have been missed."""

import json

from structlog.testing import capture_logs

from common.channels import of_topic
from ingestor.feed.event_stream import EventStream, StreamSource
from ingestor.feed.gaps import Gap, Gaps

TICKER = of_topic("linear", "tickers.BTCUSDT")


def line() -> EventStream:
    return EventStream(TICKER, StreamSource("mainnet", "01J"))


def test_a_window_is_two_events_in_the_stream_of_its_topic():
    mine, gaps = line(), Gaps()
    before = mine.live(b"{}", None, 1)
    opened = gaps.opened(mine, "reset", since_ns=5, now_ns=6)
    closed = gaps.closed(mine, "next", now_ns=9)
    assert opened is not None
    assert closed is not None
    assert {event.routing_key for event in (opened, closed)} == {"gap.ticker.linear.BTCUSDT"}
    told = [json.loads(event.body) for event in (opened, closed)]
    assert [event["sequence"][-1] for event in told] == ["2", "3"]
    assert [event["data"]["state"] for event in told] == ["open", "closed"]
    assert told[1]["data"] | {"last_id": before.id, "first_id": "next"} == told[1]["data"]


def test_the_opening_of_a_gap_is_logged_with_its_topic_cause_and_begin():
    mine, gaps = line(), Gaps()
    with capture_logs() as lines:
        gaps.opened(mine, "reset", since_ns=5_000, now_ns=6_000)
        gaps.opened(mine, "silent", since_ns=7_000, now_ns=8_000)
    assert lines == [
        {
            "event": "gap opened",
            "log_level": "warning",
            "endpoint": "linear",
            "topic": TICKER.topic,
            "cause": "reset",
            "since": "1970-01-01T00:00:00.000005Z",
        }
    ]


def test_a_window_that_is_open_is_not_opened_again():
    mine, gaps = line(), Gaps()
    gaps.opened(mine, "reset", 5, 6)
    assert gaps.opened(mine, "silent", 7, 8) is None
    assert gaps.closed(mine, None, 9) is not None
    assert gaps.closed(mine, None, 10) is None


def test_what_changed_while_it_was_written_is_written_again():
    mine, gaps = line(), Gaps()
    gaps.opened(mine, "reset", 5, 6)
    being_written = gaps.unwritten()
    gaps.closed(mine, None, 9)
    gaps.written(being_written)
    [left] = gaps.unwritten()
    assert left.closed_ns == 9
    gaps.written([left])
    assert gaps.unwritten() == []


def test_a_window_of_an_earlier_life_is_opened_as_it_was():
    mine, gaps = line(), Gaps([Gap("linear", TICKER.topic, "restart", 3, "last")])
    assert gaps.missed([TICKER, of_topic("spot", TICKER.topic)]) == {TICKER.topic}
    opened = gaps.opened(mine, "restart", since_ns=5, now_ns=6)
    assert opened is not None
    told = json.loads(opened.body)["data"]
    assert (told["from"], told["last_id"]) == ("1970-01-01T00:00:00.000000Z", "last")
    assert gaps.missed([TICKER]) == frozenset()
    assert [gap.opened_ns for gap in gaps.windows()] == [3]


def test_a_window_of_an_earlier_life_ends_when_nobody_wants_its_topic():
    gaps = Gaps([Gap("linear", TICKER.topic, "restart", 3, None), Gap("linear", "tickers.X", "restart", 3, None)])
    gaps.carried({("linear", TICKER.topic)}, now_ns=9)
    assert [(gap.topic, gap.closed_ns) for gap in gaps.unwritten()] == [("tickers.X", 9)]
    assert [gap.topic for gap in gaps.windows() if gap.closed_ns is None] == [TICKER.topic]


def test_what_an_earlier_life_ended_without_writing_it_down_is_written_and_no_more():
    mine, gaps = line(), Gaps([Gap("linear", TICKER.topic, "reset", 3, None, None, 4, "no")])
    assert [gap.closed_ns for gap in gaps.unwritten()] == [4]
    assert gaps.missed([TICKER]) == frozenset()
    assert [gap.closed_ns for gap in gaps.windows()] == [4]
    gaps.written(gaps.unwritten())
    assert gaps.windows() == []
    assert gaps.closed(mine, None, 9) is None


def test_what_became_of_a_window_may_be_known_later():
    mine, gaps = line(), Gaps()
    gaps.opened(mine, "reset", 5, 6)
    gaps.closed(mine, None, 9, healed=None)
    gaps.written(gaps.unwritten())
    gaps.healed(TICKER, 5, "in part")
    assert [gap.healed for gap in gaps.unwritten()] == ["in part"]
