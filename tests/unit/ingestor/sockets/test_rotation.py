"""A second connection takes over while the first is live."""

import threading
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from common.settings import Credentials
from ingestor.bybit.actions import Interrupted, Send
from ingestor.feed.feed import OVERFLOW_OVER_AFTER_S
from ingestor.sockets.mailbox import Renew, TopicDropped
from ingestor.sockets.rotation import AGAIN_AFTER_S, DONE_WITHIN_S, QUIET_S
from ingestor.sockets.transport import Lost
from tests.kit.waiting import eventually
from tests.unit.ingestor.sockets.kit import PONG, Turn, Wire

TICKER, OTHER = "tickers.BTCUSDT", "tickers.ETHUSDT"
MAX_AGE_S = 4.0


@pytest.fixture
def at() -> Turn:
    turn = Turn(max_age_s=MAX_AGE_S)
    wire = turn.live(TICKER)
    wire.push(TICKER, n=0)
    turn.turn()
    turn.now_s = MAX_AGE_S - 1
    alive(turn, wire)
    return turn


def alive(at: Turn, *wires: Wire) -> None:
    for wire in wires:
        wire.arriving.append(PONG)
    at.turn()


def rotating(at: Turn) -> bool:
    return at.worker._rotation.replacement is not None


def rotating_after_a_turn(at: Turn) -> bool:
    at.turn()
    return rotating(at)


def closed(wire: Wire) -> bool:
    return wire.closed


def flows(at: Turn, seconds: float) -> None:
    """Time passes, and the first connection is well."""
    ends_at = at.now_s + seconds
    while at.now_s < ends_at:
        at.now_s = min(ends_at, at.now_s + 2.0)
        at.wires[0].push(TICKER, n=at.now_s)
        alive(at, at.wires[0])


def second(at: Turn) -> Wire:
    """Begin the rotation: the second connection, subscribed and acknowledged."""
    at.passes(1.0)
    eventually(lambda: len(at.wires) == 2, 5, "a second connection is opened")
    at.turn()
    at.wires[1].ack()
    at.turn()
    return at.wires[1]


@pytest.fixture
def lines() -> Iterator[list[object]]:
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]


def test_an_old_connection_is_replaced_once_both_brought_the_same_push(at: Turn, lines: list[dict[str, object]]):
    first, other = at.wires[0], second(at)
    assert not closed(first)
    for wire in (first, other):
        wire.push(TICKER, n=1)
    at.turn()
    assert closed(first)
    other.push(TICKER, n=2)
    at.turn()
    assert [body["data"]["data"]["n"] for body in at.bodies] == [0, 1, 2]
    assert at.kinds() == ["live"] * 3
    assert [line["reason"] for line in lines if line["event"] == "connection replaced"] == ["its age"]
    assert at.worker.observed.since == at.time(MAX_AGE_S)


def test_a_quiet_topic_takes_a_while(at: Turn):
    first, other = at.wires[0], second(at)
    at.now_s += QUIET_S - 0.5
    alive(at, first, other)
    assert not closed(first)
    at.now_s += 0.6
    alive(at, first, other)
    assert closed(first)


def test_a_connection_is_not_replaced_before_its_age(at: Turn):
    at.passes(0.9)
    assert not rotating(at)
    at.passes(0.1)
    assert rotating(at)


def test_a_topic_that_misses_something_is_waited_for(at: Turn):
    at.worker._performer.session.topics.by_name[TICKER].missing = True
    at.passes(1.0)
    assert not rotating(at)


def test_a_topic_whose_events_are_dropped_is_waited_for(at: Turn):
    at.command(TopicDropped(TICKER, 1, 1_700_000_000))
    at.passes(1.0)
    assert not rotating(at)
    flows(at, OVERFLOW_OVER_AFTER_S)
    assert rotating(at)


def test_each_replacement_counts_as_a_connect(at: Turn):
    def connects() -> float:
        return REGISTRY.get_sample_value("wsgw_connects_total", {"endpoint": "linear"}) or 0.0

    before = connects()
    second(at)
    assert connects() == before + 1


def test_the_budget_of_connects_is_kept(at: Turn):
    at.budget_waits = [30.0]
    at.passes(1.0)
    assert not rotating(at)
    flows(at, 29.9)
    assert not rotating(at)
    flows(at, 0.1)
    assert rotating(at)


def test_a_replacement_that_is_refused_is_tried_again_later(at: Turn, lines: list[dict[str, object]]):
    at.refusals.append(Lost("HTTP 403"))
    at.passes(1.0)
    eventually(lambda: not rotating_after_a_turn(at), 5, "it is given up")
    assert [line["reason"] for line in lines if line["event"] == "connection replacement abandoned"] == ["HTTP 403"]
    flows(at, AGAIN_AFTER_S - 1.0)
    assert not rotating(at)
    flows(at, 1.0)
    assert rotating(at)


def test_a_replacement_that_dies_changes_nothing(at: Turn):
    first, other = at.wires[0], second(at)
    other.lost = "reset"
    at.turn()
    assert other.closed
    assert not closed(first)
    first.push(TICKER, n=1)
    at.turn()
    assert at.kinds() == ["live", "live"]


def test_a_replacement_that_is_not_ready_in_time_is_given_up_and_closed_whenever_it_connects(at: Turn):
    at.hangs = threading.Event()
    at.passes(1.0)
    flows(at, DONE_WITHIN_S - 0.1)
    assert rotating(at)
    flows(at, 0.1)
    assert not rotating(at)
    at.hangs.set()
    eventually(lambda: at.wires[-1].closed, 5, "it is closed")
    assert not at.wires[0].closed


def test_a_connection_that_is_lost_is_continued_by_its_replacement_without_a_gap(at: Turn):
    first, other = at.wires[0], second(at)
    at.now_s += 0.1
    alive(at, first, other)
    other.push(TICKER, n=1)
    at.turn()
    first.lost = "reset"
    at.turn()
    other.push(TICKER, n=2)
    at.turn()
    assert [body["data"]["data"]["n"] for body in at.bodies] == [0, 1, 2]
    assert at.kinds() == ["live"] * 3


def test_a_topic_that_is_subscribed_meanwhile_is_subscribed_on_both(at: Turn):
    first, other = at.wires[0], second(at)
    at.subscribe(TICKER, OTHER)
    for wire in (first, other):
        assert ("subscribe", [OTHER]) in wire.requested


def test_a_topic_that_is_acknowledged_by_the_replacement_alone_is_reported_with_the_switch(at: Turn):
    first, other = at.wires[0], second(at)
    at.subscribe(TICKER, OTHER)
    other.ack()
    for wire in (first, other):
        wire.push(TICKER, n=1)
    at.turn()
    assert closed(first)
    assert at.reported.count(f"subscribed {OTHER}") == 1
    assert at.reported.count(f"subscribed {TICKER}") == 1
    at.passes(1.0)
    assert [topic.state for topic in at.worker.observed.topics] == ["live", "live"]
    assert all(topic.acked_at is not None for topic in at.worker.observed.topics)


def test_what_the_former_connection_still_had_to_send_is_not_sent_on_its_replacement(at: Turn):
    first, other = at.wires[0], second(at)
    at.now_s += 0.1
    alive(at, first, other)
    first.lost = "broken pipe"
    at.worker._performer.perform([Send('{"op":"a"}'), Send('{"op":"b"}'), Interrupted(TICKER, "silent", 0.0)])
    assert closed(first)
    at.turn()
    assert [request["op"] for request in other.sent] == ["subscribe"]
    assert at.kinds() == ["live"]


def test_a_connection_that_was_opened_and_not_fetched_is_closed_with_its_replacement(at: Turn):
    at.hangs = threading.Event()
    at.passes(1.0)
    at.hangs.set()
    eventually(lambda: at.will_wake, 5, "the worker is woken to fetch it")
    at.worker._rotation.abandon("test", at.now_s)
    assert closed(at.wires[1])


def test_a_connection_that_is_opened_after_its_replacement_was_abandoned_is_closed(at: Turn):
    at.hangs = threading.Event()
    at.passes(1.0)
    at.command(TopicDropped(TICKER, 1, 1_700_000_000))
    assert not rotating(at)
    at.hangs.set()
    eventually(lambda: at.wires[-1].closed, 5, "it is closed")
    assert not closed(at.wires[0])


def test_a_connection_without_an_acknowledged_topic_is_not_replaced_before_the_other_one_is_live():
    at = Turn(max_age_s=MAX_AGE_S)
    at.subscribe(TICKER)
    at.hangs = threading.Event()
    at.passes(MAX_AGE_S)
    at.turn()
    assert rotating(at)
    assert not closed(at.wires[0])
    at.hangs.set()
    eventually(lambda: not rotating_after_a_turn(at), 5, "it takes over")
    assert (at.wires[0].closed, at.wires[1].closed) == (True, False)


def test_a_connection_is_replaced_once_for_new_credentials(lines: list[dict[str, object]]):
    at = Turn("private")
    at.subscribe("order")
    at.authenticate()
    at.credentials = Credentials("second", "secret")
    at.command(Renew(at.credentials))
    eventually(lambda: len(at.wires) == 2, 5, "a second connection is opened")
    at.turn()
    at.authenticate()
    for _ in range(int(DONE_WITHIN_S)):
        at.now_s += 1.5
        alive(at, *at.wires[:2])
    assert [line["reason"] for line in lines if line["event"] == "connection replaced"] == ["new credentials"]
    assert len(at.wires) == 2


def test_a_replacement_with_outdated_credentials_is_abandoned_for_another_one():
    at = Turn("private", max_age_s=MAX_AGE_S)
    at.subscribe("order")
    at.authenticate()
    at.passes(1.0)
    at.credentials = Credentials("second", "secret")
    at.command(Renew(at.credentials))
    eventually(lambda: len(at.wires) == 2, 5, "a second connection is opened")
    at.credentials = Credentials("third", "secret")
    at.command(Renew(at.credentials))
    eventually(lambda: len(at.wires) == 3, 5, "a third connection is opened")
    at.turn()
    assert closed(at.wires[1])
    assert at.wires[2].sent[0]["args"][0] == "third"


def test_an_interruption_abandons_the_replacement(at: Turn, lines: list[dict[str, object]]):
    first, other = at.wires[0], second(at)
    at.worker._performer.perform([Interrupted(TICKER, "silent", at.now_s)])
    at.turn()
    assert not rotating(at)
    assert (first.closed, other.closed) == (False, True)
    assert at.kinds() == ["live", "gap open"]
    assert [line["reason"] for line in lines if line["event"] == "connection replacement abandoned"] == [
        f"{TICKER} is interrupted"
    ]


def test_dropped_events_abandon_the_replacement(at: Turn):
    first, other = at.wires[0], second(at)
    at.command(TopicDropped(TICKER, 1, 1_700_000_000))
    assert not rotating(at)
    assert (first.closed, other.closed) == (False, True)


def test_a_failure_abandons_the_replacement(at: Turn):
    other = second(at)
    at.worker._performer.restart(at.session("linear"), whole_until=0.0)
    assert not rotating(at)
    assert other.closed


def test_a_stop_closes_the_replacement(at: Turn):
    other = second(at)
    at.stop.set()
    at.worker.run(at.stop)
    assert other.closed


def test_a_topic_that_stays_quiet_does_not_keep_the_next_replacement_from_beginning_for_long(at: Turn):
    first, other = at.wires[0], second(at)
    at.now_s += QUIET_S + 0.1
    alive(at, first, other)
    assert closed(first)
    ends_at = at.worker._performer.session.opened_at + DONE_WITHIN_S
    while at.now_s + 5.0 < ends_at:
        at.now_s += 5.0
        alive(at, other)
    assert not rotating(at)
    at.now_s = ends_at
    alive(at, other)
    assert rotating(at)


def test_a_topic_that_is_subscribed_meanwhile_is_merged_too(at: Turn):
    first, other = at.wires[0], second(at)
    at.subscribe(TICKER, OTHER)
    for wire in (first, other):
        wire.ack()
        wire.push(OTHER, n=5)
        wire.push(TICKER, n=1)
    at.turn()
    assert closed(first)
    other.push(OTHER, n=6)
    at.turn()
    assert [body["data"]["data"]["n"] for body in at.bodies if body["subject"] == OTHER] == [5, 6]


def test_a_replacement_sends_its_own_pings(at: Turn):
    other = second(at)
    at.now_s += 2.0
    other.push(OTHER)
    for _ in range(11):
        at.now_s += 1.0
        at.wires[0].push(TICKER, n=at.now_s)
        alive(at, at.wires[0])
    assert "ping" in [request["op"] for request in other.sent]
