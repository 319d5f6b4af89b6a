"""The thread of one connection, turned step by step."""

import json
import threading

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from common.channels import of_topic
from common.events import Event
from common.settings import Credentials
from ingestor.bybit.actions import Marked, Send
from ingestor.bybit.states import State, TopicState
from ingestor.feed.backfill import ANSWER_WITHIN_S, BackfillRequest
from ingestor.feed.event_stream import EventStream
from ingestor.sockets.mailbox import Publish, Renew, RetryRejected, Subscribe, TopicDropped
from ingestor.sockets.transport import Lost, Unfit
from tests.unit.ingestor.feed.kit import Answer
from tests.unit.ingestor.sockets.kit import PONG, Turn

TICKER, OTHER, QUIET = "tickers.BTCUSDT", "tickers.ETHUSDT", "allLiquidation.BTCUSDT"


def state(at: Turn) -> State:
    return at.worker.observed.state


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"wsgw_{name}", {"endpoint": "linear"}) or 0.0


class RecordedWaits(threading.Event):
    """A stop that never comes, and is not waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return False


@pytest.fixture
def at() -> Turn:
    return Turn()


def test_a_subscription_connects_and_its_pushes_are_handed_over(at: Turn):
    wire = at.live(TICKER)
    assert at.worker.name == "stream linear/3"
    assert wire.requested == [("subscribe", [TICKER])]
    frame = wire.push(TICKER, a=1)
    at.turn()
    [event] = at.taken
    assert event.body.endswith(frame + b"}")
    assert at.reported.count("live") == 1
    assert f"subscribed {TICKER}" in at.reported


def test_what_is_observed_follows_the_session(at: Turn):
    assert state(at) is State.IDLE
    wire = at.live(TICKER)
    wire.push(TICKER)
    at.turn()
    at.passes(1.0)
    [topic] = at.worker.observed.topics
    assert (topic.state, topic.events, topic.reason) == ("live", 1, None)
    assert topic.acked_at == topic.last_event_at == at.time(0.0)
    assert state(at) is State.LIVE
    assert at.worker.observed.since == at.worker.observed.last_heartbeat_at == at.time(0.0)
    assert at.reported[-1] == "changed"


def test_a_pending_topic_has_a_reason(at: Turn):
    at.refusals.append(Lost("HTTP 503", wait_s=7.0))
    at.subscribe(TICKER)
    at.passes(0.2)
    [topic] = at.worker.observed.topics
    assert (topic.state, topic.reason) == ("pending", "the linear socket is backoff: HTTP 503")
    at.passes(7.0)
    at.passes(0.2)
    [topic] = at.worker.observed.topics
    assert (topic.state, topic.reason) == ("pending", "waiting for the exchange's answer")


def test_the_states_of_a_connection_are_logged_and_a_failed_one_with_the_time_of_the_retry(at: Turn):
    at.refusals.append(Lost("HTTP 503", wait_s=7.0))
    with capture_logs() as lines:
        at.subscribe(TICKER)
        at.passes(7.0)
    states = [line for line in lines if line["event"] == "socket state"]
    assert [(line["state"], line["log_level"], line.get("retry_in_s")) for line in states] == [
        ("connecting", "info", None),
        ("backoff", "warning", 7.0),
        ("connecting", "info", None),
        ("live", "info", None),
    ]


def test_a_topic_that_is_subscribed_is_logged_once(at: Turn):
    with capture_logs() as lines:
        at.live(TICKER)
    found = [(line["event"], line["log_level"], line["topic"], line["reason"]) for line in lines if "topic" in line]
    assert found == [("topic subscribed", "info", TICKER, None)]


def test_a_topic_that_is_unsubscribed_is_forgotten(at: Turn):
    wire = at.live(TICKER, OTHER)
    at.passes(1.0)
    at.subscribe(OTHER)
    wire.ack()
    at.turn()
    at.passes(1.0)
    assert [topic.channel.topic for topic in at.worker.observed.topics] == [OTHER]
    assert at.feed.topics.keys() == {OTHER}
    at.subscribe(TICKER, OTHER)
    at.passes(1.0)
    assert {topic.channel.topic: topic.acked_at for topic in at.worker.observed.topics}[TICKER] is None


def test_what_has_not_changed_is_observed_as_the_same_object(at: Turn):
    wire = at.live(TICKER, OTHER)
    at.passes(1.0)
    before = at.worker.observed.topics
    wire.push(TICKER)
    at.turn()
    at.passes(1.0)
    after = at.worker.observed.topics
    assert [one is other for one, other in zip(before, after, strict=True)] == [False, True]


def test_the_last_heartbeat_is_when_the_connection_was_heard_last(at: Turn):
    wire = at.live(TICKER)
    at.now_s = 1.5
    wire.arriving.append(PONG)
    at.turn()
    at.passes(2.0)
    assert at.worker.observed.last_heartbeat_at == at.time(1.5)
    at.refusals.append(Lost("HTTP 503"))
    wire.lost = "reset"
    at.passes(1.0)
    assert at.worker.observed.state is State.BACKOFF
    assert at.worker.observed.last_heartbeat_at == at.time(1.5)


def test_whether_a_connection_is_live_is_a_metric(at: Turn):
    def shown() -> float | None:
        return REGISTRY.get_sample_value("wsgw_socket_live", {"endpoint": "linear", "socket_no": "3"})

    wire = at.live(TICKER)
    assert shown() == 1.0
    at.refusals.append(Lost("HTTP 503"))
    wire.lost = "reset"
    at.worker._performer.lose("reset")
    assert shown() == 0.0


def test_a_change_is_observed_soon_and_counts_once_a_second(at: Turn):
    wire = at.live(TICKER)
    at.passes(0.1)
    assert [topic.state for topic in at.worker.observed.topics] == ["live"]
    at.passes(1.0)
    wire.push(TICKER)
    at.passes(0.9)
    assert [topic.events for topic in at.worker.observed.topics] == [0]
    at.passes(0.1)
    assert [topic.events for topic in at.worker.observed.topics] == [1]


def test_a_lost_connection_is_a_gap_and_another_connection(at: Turn):
    wire = at.live(TICKER)
    wire.push(TICKER)
    at.turn()
    wire.lost = "reset"
    at.turn()
    assert wire.closed
    assert at.kinds() == ["live", "gap open"]
    assert len(at.wires) == 2, "the first retry comes at once"
    at.wires[1].ack()
    at.wires[1].push(TICKER, b=2)
    at.turn()
    assert at.kinds() == ["live", "gap open", "gap closed", "live"]
    assert at.bodies[2]["data"]["first_id"] == at.bodies[3]["id"]


def test_a_gap_is_published_and_the_loss_observed_before_the_worker_is_busy_with_connecting(at: Turn):
    wire = at.live(TICKER)
    before = metric("connects_total")
    wire.lost = "reset"
    at.turn()
    kinds, observed = at.before_connects[-1]
    assert kinds == ["gap open"]
    assert (observed.attempts, observed.last_error) == (1, "reset")
    assert [topic.state for topic in observed.topics] == ["pending"]
    assert metric("connects_total") == before + 1


def test_frames_that_came_before_the_end_of_the_connection_are_delivered(at: Turn):
    wire = at.live(TICKER)
    wire.push(TICKER)
    wire.lost = "reset"
    at.turn()
    assert at.kinds() == ["live", "gap open"]


def test_a_request_that_cannot_be_sent_is_a_lost_connection_and_the_next_one_is_not_sent(at: Turn):
    wire = at.live(TICKER)
    wire.lost = "broken pipe"
    at.worker._performer.perform([Send('{"op":"a"}'), Send('{"op":"b"}')])
    assert wire.closed
    assert state(at) is State.BACKOFF
    assert [request["op"] for request in wire.sent] == ["subscribe"]


def test_a_connection_that_is_refused_is_tried_again_when_the_exchange_asked_for(at: Turn):
    at.refusals.append(Lost("the exchange answered HTTP 429", wait_s=7.0))
    at.subscribe(TICKER)
    assert at.worker.observed.state is State.BACKOFF
    assert at.worker.observed.last_error == "the exchange answered HTTP 429"
    assert "live" not in at.reported
    at.passes(6.9)
    assert at.wires == []
    at.passes(0.2)
    assert len(at.wires) == 1


def test_the_worker_waits_for_the_budget_of_connects(at: Turn):
    at.budget_waits += [7.0, 0.01]
    at.worker._performer.stop = stop = RecordedWaits()
    with capture_logs() as lines:
        at.subscribe(TICKER)
    assert stop.waits == [1.0, 0.01]
    assert len(at.wires) == 1
    assert [line for line in lines if line["event"] == "connect budget exhausted"] == [
        {
            "event": "connect budget exhausted",
            "log_level": "warning",
            "endpoint": "linear",
            "socket_no": 3,
            "wait_s": 7.0,
        }
    ]


@pytest.mark.parametrize(("endpoint", "topic"), [("linear", TICKER), ("private", "wallet")])
def test_each_connection_uses_its_share_of_the_budget(endpoint: str, topic: str):
    at = Turn(endpoint, max_age_s=1.0)
    at.subscribe(topic)
    at.authenticate()
    at.passes(1.0)
    assert at.budget_is_private == [endpoint == "private"] * 2, "the connection and its replacement"


def test_pushes_alone_are_no_reason_for_a_turn(at: Turn):
    wire = at.live(TICKER)
    wire.push(TICKER)
    at.turn()
    assert not at.worker._performer.due
    wire.push(TICKER)
    at.worker._step(at.stop)
    assert not at.worker._performer.due


def test_a_worker_that_stops_does_not_connect(at: Turn):
    at.budget_waits += [5.0, 5.0]
    at.stop.set()
    at.worker._performer.stop = at.stop
    at.subscribe(TICKER)
    assert at.wires == []


def test_a_worker_that_stops_does_not_connect_even_when_it_may(at: Turn):
    at.stop.set()
    at.worker._performer.stop = at.stop
    at.subscribe(TICKER)
    assert at.wires == []


def test_a_stop_ends_the_wait_for_the_budget(at: Turn):
    at.budget_waits += [0.01, 0.01]
    at.stops_meanwhile = True
    at.worker.mailbox.replace(Subscribe((of_topic("linear", TICKER),)))
    at.worker.run(at.stop)
    assert at.wires == []
    assert at.closed


@pytest.mark.parametrize(("endpoint", "topic", "waits"), [("linear", TICKER, 1), ("private", "wallet", 0)])
def test_a_busy_connection_is_read_less_often_unless_it_is_private(endpoint: str, topic: str, waits: int):
    at = Turn(endpoint)
    at.subscribe(topic)
    at.authenticate()
    at.passes(1.0)
    at.stop = stop = RecordedWaits()
    for _ in range(2):
        for number in range(150):
            at.wires[0].push(topic, n=number)
        at.worker._step(stop)
    assert len(stop.waits) == waits
    assert all(0.0 < wait_s <= 0.004 for wait_s in stop.waits)


def test_another_thread_can_wake_the_worker(at: Turn):
    at.worker.wake()
    assert at.will_wake
    at.worker.mailbox.replace(Subscribe((of_topic("linear", TICKER),)))
    at.worker._step(at.stop)
    assert len(at.wires) == 1


def test_what_follows_in_a_read_after_the_session_left_the_connection_is_ignored():
    at = Turn("private")
    at.subscribe("order")
    at.wires[0].arriving += [b'{"success":false,"ret_msg":"api key invalid","op":"auth","conn_id":"c"}', b"{"]
    with capture_logs() as lines:
        at.turn()
    assert at.wires[0].closed
    assert "frame set aside" not in [line["event"] for line in lines]


def test_the_ack_of_a_topic_that_is_gone_meanwhile_changes_nothing(at: Turn):
    at.live(TICKER)
    at.worker._performer.perform([Marked(OTHER, TopicState.SUBSCRIBED, "")])
    assert [each for each in at.reported if each.startswith("subscribed")] == [f"subscribed {TICKER}"]


def test_frames_that_cannot_be_events_are_set_aside(at: Turn):
    wire = at.live(TICKER)
    wire.arriving += [Unfit(b"\x00" * 1000, "a binary message"), b"{", b'{"topic":"tickers.OTHER","data":{}}']
    wire.push(TICKER)
    before = metric("frames_set_aside_total")
    with capture_logs() as lines:
        at.turn()
    assert [line["event"] for line in lines] == ["frame set aside"] * 3
    assert [line["reason"] for line in lines][::2] == ["a binary message", "must be a push of a subscribed topic"]
    assert [len(eval(line["sample"])) for line in lines] == [200, 1, 35]
    assert metric("frames_set_aside_total") == before + 3
    assert at.kinds() == ["live"]


def test_the_exchanges_clock_is_observed_and_the_round_trip_measured(at: Turn):
    wire = at.live(TICKER)
    at.passes(10.5)
    assert wire.sent[-1]["op"] == "ping"
    at.now_s += 0.05
    wire.arriving.append(json.dumps(json.loads(PONG) | {"args": ["1700000010000"]}).encode())
    before = metric("exchange_rtt_seconds_count")
    at.turn()
    assert at.worker.observed.rtt_ms == pytest.approx(50.0)
    assert at.offset_ms == 1_700_000_010_000
    assert metric("exchange_rtt_seconds_count") == before + 1


def test_a_pong_without_the_exchanges_time_says_nothing_about_its_clock(at: Turn):
    wire = at.live(TICKER)
    wire.arriving.append(PONG)
    at.turn()
    assert at.worker.observed.rtt_ms is not None
    assert at.offset_ms is None


def test_the_worker_waits_no_longer_than_until_something_is_due(at: Turn):
    at.live(TICKER)
    at.passes(9.6)
    assert 0.0 < at.waits[-1] <= 1.0
    at.waits.clear()
    at.command(TopicDropped(TICKER, 1, 1_700_000_000))
    at.passes(4.8)
    assert at.waits[-1] <= 0.2 + 1e-6


# -- commands -----------------------------------------------------------------------------------------------


def test_an_event_of_another_thread_is_numbered_with_the_topics_own(at: Turn):
    wire = at.live(TICKER)
    wire.push(TICKER)
    at.turn()

    def make(stream: EventStream) -> Event:
        return stream.snapshot(b"{}", 1, 1)

    at.command(Publish(of_topic("linear", TICKER), make))
    assert [body["sequence"][-1] for body in at.bodies] == ["1", "2"]
    assert at.kinds() == ["live", "snapshot"]


def test_dropped_events_are_logged_and_a_gap(at: Turn):
    at.live(TICKER)
    with capture_logs() as lines:
        at.command(TopicDropped(TICKER, 7, 1_699_999_990))
    assert [line for line in lines if line["event"] == "events dropped"] == [
        {"event": "events dropped", "log_level": "error", "endpoint": "linear", "topic": TICKER, "events": 7}
    ]
    assert at.kinds() == ["gap open"]
    at.passes(5.1)
    assert at.kinds() == ["gap open", "gap closed"]


def test_a_book_with_dropped_changes_is_left_and_subscribed_again():
    at, book = Turn(), "orderbook.50.BTCUSDT"
    wire = at.live(book)
    at.command(TopicDropped(book, 7, 1_699_999_990))
    for _ in range(6):
        at.passes(1.0)
    assert ("unsubscribe", [book]) in wire.requested


def test_the_gap_of_a_book_that_is_unsubscribed_after_a_drop_is_closed():
    at, book = Turn(), "orderbook.50.BTCUSDT"
    wire = at.live(book)
    at.command(TopicDropped(book, 7, 1_699_999_990))
    at.subscribe()
    wire.ack()
    at.turn()
    for _ in range(6):
        at.passes(1.0)
    assert at.kinds() == ["gap open", "gap closed"]
    assert at.bodies[-1]["data"]["healed"] == "no"
    assert at.gaps.open_gap(of_topic("linear", book)) is None


def test_the_answer_of_rest_closes_the_gap_of_a_private_topic():
    at = Turn("private")
    at.executions()
    [request] = at.requests
    assert isinstance(request, BackfillRequest)
    assert at.kinds() == ["gap open"]
    at.answers[0](Answer())
    with capture_logs() as lines:
        at.turn()
    assert at.kinds() == ["gap open", "gap closed"]
    assert [line["healed"] for line in lines if line["event"] == "backfill finished"] == ["yes"]


def test_an_answer_for_which_the_mailbox_has_no_room_is_given_up_like_one_that_does_not_come():
    at = Turn("private")
    at.executions()
    channel = of_topic("private", "execution")
    while at.worker.mailbox.put(Publish(channel, lambda stream: stream.snapshot(b"{}", 1, 1))):
        pass
    with capture_logs() as lines:
        at.answers[0](Answer())
    assert [(line["event"], line["topic"]) for line in lines] == [
        ("backfill answer refused, mailbox full", "execution")
    ]
    at.passes(ANSWER_WITHIN_S)
    [closed] = [body["data"] for body in at.bodies if body["type"] == "bybit.gap"][1:]
    assert (closed["state"], closed["healed"]) == ("closed", "no")


def test_a_refused_topic_is_requested_again_when_it_may_exist(at: Turn):
    at.subscribe(TICKER)
    wire = at.wires[0]
    request = wire.sent[0]
    wire.arriving.append(
        json.dumps(
            {"success": False, "ret_msg": f"Invalid symbol :[{TICKER}]", "req_id": request["req_id"], "op": "subscribe"}
        ).encode()
    )
    at.turn()
    at.passes(1.0)
    assert [topic.state for topic in at.worker.observed.topics] == ["rejected"]
    at.command(RetryRejected())
    assert wire.requested == [("subscribe", [TICKER])] * 2


def test_a_worker_without_credentials_connects_when_there_are_some():
    at = Turn("private")
    at.command(Renew(None))
    at.subscribe("order")
    at.passes(1.0)
    observed = at.worker.observed
    assert (observed.state, observed.last_error, at.wires) == (State.PARKED, "no credentials", [])
    assert observed.topics[0].reason == "the private socket is parked: no credentials"
    at.command(Renew(Credentials("key", "secret")))
    assert at.wires[-1].sent[0]["op"] == "auth"


# -- failures -----------------------------------------------------------------------------------------------


def test_a_failure_nobody_foresaw_is_a_gap_from_the_last_frame_on_and_a_new_session(at: Turn):
    wire = at.live(TICKER)
    wire.push(TICKER)
    at.turn()
    before = at.worker._performer.session
    at.now_s = 2.0
    wire.push(TICKER, poison=1)
    at.fails_on = b"poison"
    with pytest.raises(RuntimeError, match="not foreseen"):
        at.worker.run(at.stop)
    assert at.worker._performer.session is not before
    assert wire.closed
    [opened] = [body for body in at.bodies if body["type"] == "bybit.gap"]
    assert opened["data"]["cause"] == "internal error"
    at.passes(1.0)
    at.wires[-1].ack()
    at.wires[-1].push(TICKER)
    at.turn()
    assert at.kinds() == ["live", "live", "gap open", "gap closed", "live"]


def test_the_gap_of_a_failure_is_published_also_when_its_own_event_was_what_failed(at: Turn):
    wire = at.live(TICKER)
    wire.push(TICKER)
    at.turn()
    wire.lost = "reset"
    at.fails_on = b'"state":"open"'
    with pytest.raises(RuntimeError, match="not foreseen"):
        at.worker.run(at.stop)
    assert at.kinds() == ["live", "gap open"]
    assert at.bodies[1]["data"]["cause"] == "reset"


def test_commands_that_a_failure_left_in_the_mailbox_are_obeyed_afterwards(at: Turn):
    at.live(TICKER)

    def fail(stream: EventStream) -> Event:
        raise RuntimeError("not foreseen")

    channel = of_topic("linear", TICKER)
    at.worker.mailbox.put(Publish(channel, fail))
    at.worker.mailbox.put(Publish(channel, lambda stream: stream.snapshot(b"{}", 1, 1)))
    with pytest.raises(RuntimeError):
        at.worker.run(at.stop)
    at.turn()
    assert at.kinds() == ["gap open", "snapshot"]


def test_a_failure_during_a_failure_does_not_keep_the_worker_from_connecting_again(at: Turn):
    wire = at.live(TICKER)
    wire.close_fails = True
    with pytest.raises(RuntimeError, match="not closed"):
        at.worker._performer.restart(at.session("linear"), whole_until=0.0)
    at.passes(1.0)
    assert len(at.wires) == 2
    assert at.wires[1].requested == [("subscribe", [TICKER])]


def test_the_gap_of_a_topic_that_is_being_left_is_closed_by_a_failure(at: Turn):
    book = "orderbook.50.BTCUSDT"
    at.live(book)
    at.command(TopicDropped(book, 7, 1_699_999_990))
    for _ in range(6):
        at.passes(1.0)
    at.subscribe()
    at.worker._performer.restart(at.session("linear"), whole_until=0.0)
    assert at.kinds() == ["gap open", "gap closed"]


def test_a_backfill_of_a_topic_that_is_being_left_is_given_up_by_a_failure():
    at = Turn("private")
    at.executions()
    at.subscribe("order")
    at.worker._performer.restart(at.session("private"), whole_until=0.0)
    assert at.kinds() == ["gap open", "gap closed"]
    assert (at.worker.observed.attempts, at.worker.observed.state) == (1, State.BACKOFF)
    assert at.worker.observed.last_error == "internal error"


def test_a_topic_that_never_flowed_misses_nothing_by_a_failure(at: Turn):
    at.subscribe(TICKER)
    at.worker._performer.restart(at.session("linear"), whole_until=0.0)
    assert at.kinds() == []
    assert list(at.worker._performer.session.topics.by_name) == [TICKER]
    assert at.worker.observed.attempts == 1


def test_parking_without_credentials_is_a_warning_without_a_time_of_the_next_attempt():
    at = Turn("private")
    at.command(Renew(None))
    with capture_logs() as lines:
        at.subscribe("order")
    [line] = [line for line in lines if line["event"] == "socket state"]
    assert (line["log_level"], line["state"], line["reason"]) == ("warning", "parked", "no credentials")
    assert "retry_in_s" not in line


def test_a_failure_after_the_credentials_were_withdrawn_is_shown_as_parked():
    at = Turn("private")
    at.live("order")
    at.credentials = None
    at.worker._performer.restart(at.session("private"), whole_until=0.0)
    assert (at.worker.observed.state, len(at.wires)) == (State.PARKED, 1)


def test_a_stop_closes_everything_and_hands_over_what_was_read(at: Turn):
    wire = at.live(TICKER)
    at.worker._performer.burst.add([at.feed.topic(TICKER).stream.snapshot(b"{}", 1, 1)])
    at.stop.set()
    at.worker.run(at.stop)
    assert wire.closed
    assert at.closed
    assert at.kinds() == ["snapshot"]


def test_a_stop_ends_a_backfill_and_hands_over_the_pushes_that_waited_for_it():
    at = Turn("private")
    at.executions().push("execution")
    at.turn()
    assert at.kinds() == ["gap open"]
    at.stop.set()
    at.worker.run(at.stop)
    assert at.kinds() == ["gap open", "gap closed", "live"]
