"""What we say to Bybit, and when."""

import json
from collections.abc import Iterable

import pytest

from common.channels import Channel, of_topic
from common.settings import Credentials
from ingestor.bybit.actions import (
    Action,
    Close,
    Connect,
    Deliver,
    Entered,
    Interrupted,
    Marked,
    Resumed,
    Send,
    SetAside,
)
from ingestor.bybit.auth import signature
from ingestor.bybit.messages import PING
from ingestor.bybit.session import Session, Timing
from ingestor.bybit.states import State, TopicState

TRADES = "publicTrade.BTCUSDT"
BOOK = "orderbook.50.BTCUSDT"
TICKER = "tickers.BTCUSDT"
PONG = b'{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}'


def channels(*topics: str, endpoint: str = "linear") -> list[Channel]:
    return [of_topic(endpoint, topic) for topic in topics]


def session(*topics: str, endpoint: str = "linear", credentials: Credentials | None = None) -> Session:
    talk = Session(endpoint, Timing(), now=0.0, credentials=credentials, draw=lambda: 1.0)
    talk.want(channels(*topics, endpoint=endpoint), now=0.0)
    return talk


def live(*topics: str, endpoint: str = "linear") -> Session:
    talk = session(*topics, endpoint=endpoint)
    answer(talk, talk.opened(now=0.0, exchange_ms=0))
    return talk


def requests(actions: Iterable[Action]) -> list[dict[str, object]]:
    return [json.loads(action.text) for action in actions if isinstance(action, Send) and action.text != PING]


def reply(request: dict[str, object], words: str = "", success: bool = True) -> bytes:
    body = {"success": success, "ret_msg": words, "conn_id": "c", "req_id": request["req_id"], "op": request["op"]}
    return json.dumps(body).encode()


def answer(talk: Session, actions: list[Action], now: float = 0.0) -> list[Action]:
    """Acknowledge every request that is in these actions, and those that follow."""
    told: list[Action] = []
    while asked := requests(actions):
        actions = [action for request in asked for action in talk.received(reply(request), now)]
        told += actions
    return told


def push(topic: str, ts: int = 1, **more: object) -> bytes:
    return json.dumps({"topic": topic, "type": "snapshot", "ts": ts, "data": {}} | more).encode()


def book(update_id: int, kind: str = "delta") -> bytes:
    return push(BOOK, type=kind, data={"u": update_id})


def test_it_connects_when_something_is_wanted_and_not_before():
    talk = Session("linear", Timing(), now=0.0)
    assert talk.want([], now=0.0) == []
    assert talk.want(channels(TRADES), now=0.0)[-1] == Connect()


def test_it_subscribes_once_the_socket_is_open():
    [asked] = requests(session(TRADES, BOOK).opened(now=1.0, exchange_ms=0))
    assert (asked["op"], asked["args"]) == ("subscribe", [TRADES, BOOK])


def test_it_asks_for_at_most_ten_topics_in_a_request():
    asked = requests(session(*(f"publicTrade.S{n}" for n in range(25))).opened(now=0.0, exchange_ms=0))
    assert [str(request["args"]).count("publicTrade") for request in asked] == [10, 10, 5]


def test_it_pings_when_a_ping_is_due_and_not_before():
    talk = live(TRADES)
    assert talk.passed(9.9) == []
    assert talk.passed(10.0) == [Send(PING)]


def test_it_pings_every_twenty_seconds_also_while_frames_flow():
    talk = live(TRADES)
    for second in range(1, 20):
        talk.received(push(TRADES), now=float(second))
    assert Send(PING) not in talk.passed(19.9)
    assert Send(PING) in talk.passed(20.0)


def test_a_pong_that_does_not_come_ends_the_connection():
    talk = live(TRADES)
    talk.passed(10.0)
    assert talk.passed(14.9) == []
    assert talk.passed(15.0)[0] == Close("no pong")
    assert talk.state is State.BACKOFF


@pytest.mark.parametrize(
    "pong",
    [
        {"success": True, "ret_msg": "pong", "conn_id": "c", "op": "ping"},
        {"args": ["1672916271846"], "op": "pong"},
    ],
)
def test_each_form_of_pong_counts(pong: dict[str, object]):
    talk = live(TRADES)
    talk.passed(10.0)
    talk.received(json.dumps(pong).encode(), now=11.0)
    assert talk.passed(15.0) == []


def test_data_before_the_ack_is_delivered():
    talk = session(TRADES)
    talk.opened(now=0.0, exchange_ms=0)
    frame = push(TRADES, ts=5)
    assert Deliver(TRADES, frame, 5) in talk.received(frame, now=0.1)


def test_a_late_push_after_unsubscribing_is_dropped_and_a_strange_topic_set_aside():
    talk = live(TRADES, BOOK)
    answer(talk, talk.want(channels(TRADES), now=1.0))
    assert talk.received(book(1), now=2.0) == []
    assert isinstance(talk.received(push("tickers.STRANGE"), now=2.0)[0], SetAside)


def test_a_topic_that_goes_on_after_it_was_left_is_left_again():
    """The exchange handled the unsubscribe first, and then the subscribe that it had not answered."""
    talk = live(TRADES)
    talk.want(channels(TRADES, TICKER), now=1.0)  # not answered
    talk.want(channels(TRADES), now=2.0)
    [leave] = requests(talk.passed(now=6.0))
    assert (leave["op"], leave["args"]) == ("unsubscribe", [TICKER])
    talk.received(reply(leave), now=7.0)
    assert talk.received(push(TICKER), now=12.0) == []
    [again] = requests(talk.received(push(TICKER), now=12.1))
    assert (again["op"], again["args"]) == ("unsubscribe", [TICKER])
    assert talk.received(push(TICKER), now=12.2) == []


def test_a_topic_that_was_asked_for_in_vain_and_goes_on_unwanted_is_left():
    talk = live(TRADES)
    [asked] = requests(talk.want(channels(TRADES, "tickers.NOPEUSDT"), now=1.0))
    talk.received(reply(asked, "error:handler not found,topic:tickers.NOPEUSDT", success=False), now=1.1)
    talk.want(channels(TRADES), now=2.0)
    [leave] = requests(talk.received(push("tickers.NOPEUSDT"), now=7.1))
    assert (leave["op"], leave["args"]) == ("unsubscribe", ["tickers.NOPEUSDT"])


def test_a_new_connection_holds_nothing_that_was_left_on_the_one_before():
    talk = live(TRADES, BOOK)
    answer(talk, talk.want(channels(TRADES), now=1.0))
    talk.lost("reset", now=2.0)
    talk.passed(now=10.0)
    answer(talk, talk.opened(now=10.0, exchange_ms=0), now=10.0)
    assert isinstance(talk.received(book(1), now=20.0)[0], SetAside)


def test_a_push_of_a_subscription_that_ends_is_delivered_and_closes_no_gap():
    talk = session()
    talk.want(channels(TICKER), now=0.0, missed=[TICKER])
    answer(talk, talk.opened(now=0.0, exchange_ms=0))
    talk.want([], now=1.0)
    talk.want(channels(TICKER), now=2.0)  # before the unsubscribe is answered
    assert talk.received(push(TICKER), now=3.0) == [Deliver(TICKER, push(TICKER), 1)]


def test_unsubscribing_touches_no_other_topic():
    talk = live(TRADES, BOOK)
    [asked] = requests(talk.want(channels(TRADES), now=1.0))
    assert (asked["op"], asked["args"]) == ("unsubscribe", [BOOK])
    assert talk.topics.by_name[TRADES].state is TopicState.SUBSCRIBED


def test_a_poisoned_batch_costs_only_the_guilty_topic():
    talk = session(TRADES, "tickers.NOPEUSDT", BOOK)
    [asked] = requests(talk.opened(now=0.0, exchange_ms=0))
    words = "error:handler not found,topic:tickers.NOPEUSDT"
    told = talk.received(reply(asked, words, success=False), now=0.1)
    assert Marked("tickers.NOPEUSDT", TopicState.REJECTED, words) in told
    [again] = requests(told)
    assert again["args"] == [TRADES, BOOK]


def test_a_refusal_that_names_nobody_is_split_until_the_guilty_topic_stands_alone():
    talk = session(TRADES, BOOK, TICKER)
    [asked] = requests(talk.opened(now=0.0, exchange_ms=0))
    told = talk.received(reply(asked, "Params Error", success=False), now=0.1)
    assert [request["args"] for request in requests(told)] == [[TRADES], [BOOK], [TICKER]]


def test_already_subscribed_counts_as_held():
    talk = session(TRADES)
    [asked] = requests(talk.opened(now=0.0, exchange_ms=0))
    told = talk.received(reply(asked, f"error:already subscribed,topic:{TRADES}", success=False), now=0.1)
    assert Marked(TRADES, TopicState.SUBSCRIBED, "") in told


def test_a_rejected_topic_is_tried_again_after_ten_minutes_and_when_the_listing_changes():
    talk = session(TRADES)
    [asked] = requests(talk.opened(now=0.0, exchange_ms=0))
    talk.received(reply(asked, "error:handler not found", success=False), now=0.0)
    talk.received(PONG, now=598.0)
    assert requests(talk.passed(599.0)) == []
    [again] = requests(talk.retry_rejected(now=599.5))
    talk.received(reply(again, "error:handler not found", success=False), now=600.0)
    talk.received(PONG, now=1200.0)
    assert requests(talk.passed(1200.5)) != []


def test_option_answers_topic_by_topic():
    talk = session("tickers.A-C", "tickers.B-C", endpoint="option")
    talk.opened(now=0.0, exchange_ms=0)
    lists = {"failTopics": ["tickers.B-C"], "successTopics": ["tickers.A-C"]}
    frame = json.dumps({"success": True, "conn_id": "c", "data": lists, "type": "COMMAND_RESP"}).encode()
    states = {told.topic: told.state for told in talk.received(frame, now=0.1) if isinstance(told, Marked)}
    assert states == {"tickers.A-C": TopicState.SUBSCRIBED, "tickers.B-C": TopicState.REJECTED}


def test_private_answers_name_both_groups():
    talk = session("order", "nosuch", endpoint="private", credentials=Credentials("k", "s"))
    talk.opened(now=0.0, exchange_ms=0)
    told = talk.received(b'{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}', now=0.1)
    [asked] = requests(told)
    words = (
        "Batch subscription partially succeeded and partially failed.Successful subscriptions are as follows:[order]. "
        "Subscription to the following topics failed because the topic does not exist or there is a subscription "
        "conflict:[nosuch]."
    )
    states = {
        told.topic: told.state
        for told in talk.received(reply(asked, words, success=False), now=0.2)
        if isinstance(told, Marked)
    }
    assert states == {"order": TopicState.SUBSCRIBED, "nosuch": TopicState.REJECTED}


def test_a_request_without_an_answer_is_asked_again_and_then_the_socket_is_left():
    talk = session(TRADES)
    talk.opened(now=0.0, exchange_ms=0)
    assert len(requests(talk.passed(5.0))) == 1
    assert len(requests(talk.passed(10.0))) == 1
    talk.received(PONG, now=14.0)
    assert talk.passed(15.0)[0] == Close(f"no answer to subscribe of {TRADES}")


def test_data_without_an_ack_counts_as_held():
    talk = session(TRADES)
    talk.opened(now=0.0, exchange_ms=0)
    talk.received(push(TRADES), now=1.0)
    assert Marked(TRADES, TopicState.SUBSCRIBED, "") in talk.passed(5.0)


def test_after_a_loss_everything_wanted_is_asked_for_again_and_nothing_else():
    talk = live(TRADES, BOOK, TICKER)
    answer(talk, talk.want(channels(TRADES, BOOK), now=1.0))
    talk.lost("reset", now=2.0)
    assert talk.passed(2.0)[-1] == Connect()
    [asked] = requests(talk.opened(now=2.1, exchange_ms=0))
    assert asked["args"] == [TRADES, BOOK]


def test_a_loss_opens_a_gap_that_its_next_push_closes():
    talk = live(TICKER)
    talk.received(push(TICKER), now=1.0)
    assert Interrupted(TICKER, "reset", 1.0) in talk.lost("reset", now=2.0)
    talk.passed(2.0)
    talk.opened(now=2.1, exchange_ms=0)
    frame = push(TICKER, ts=9)
    assert talk.received(frame, now=2.2) == [Resumed(TICKER), Deliver(TICKER, frame, 9)]


def test_a_quiet_topic_resumes_with_its_ack():
    talk = live(TRADES)
    talk.lost("reset", now=2.0)
    talk.passed(2.0)
    assert Resumed(TRADES) in answer(talk, talk.opened(now=2.1, exchange_ms=0))


def test_it_waits_longer_each_time_and_a_breaker_opens():
    talk = session(TRADES)
    waits = []
    for _ in range(8):
        talk.lost("refused", now=0.0)
        waits.append(talk.due_at())
        talk.passed(talk.due_at())
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 20.0, 20.0, 20.0]


def test_connecting_alone_does_not_end_the_backoff_but_an_ack_does():
    talk = session(TRADES)
    for _ in range(3):
        talk.lost("refused", now=0.0)
        talk.passed(talk.due_at())
    asked = talk.opened(now=0.0, exchange_ms=0)
    assert talk.failures == 3
    answer(talk, asked)
    assert talk.failures == 0


def test_the_exchange_s_own_wait_is_honoured():
    talk = session(TRADES)
    talk.lost("429", now=0.0, wait_s=60.0)
    assert talk.due_at() == 60.0


def test_private_subscribes_only_after_it_is_authenticated():
    talk = session("wallet", endpoint="private", credentials=Credentials("key", "secret"))
    [challenge] = requests(talk.opened(now=0.0, exchange_ms=1_000_000))
    assert challenge["args"] == ["key", 1_010_000, signature("secret", 1_010_000)]
    told = talk.received(b'{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}', now=0.1)
    assert Entered(State.LIVE, "authenticated") in told
    assert requests(told)[0]["args"] == ["wallet"]


def test_private_topics_without_a_key_are_parked_and_tried_rarely():
    talk, now = session("order", endpoint="private"), 0.0
    for _ in range(5):
        assert talk.opened(now, exchange_ms=0)[0] == Close("no credentials")
        assert talk.state is State.PARKED
        assert talk.due_at() == now + 300.0
        now = talk.due_at()
        assert talk.passed(now - 0.1) == []
        assert talk.passed(now)[-1] == Connect()
    talk.opened(now, exchange_ms=0)
    assert talk.renew(Credentials("key", "secret"))[-1] == Connect()


def test_a_refused_key_parks_the_socket_until_there_are_new_credentials():
    talk = session("wallet", endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=0.0, exchange_ms=0)
    frame = b'{"success":false,"ret_msg":"API key is invalid.","op":"auth","conn_id":"c"}'
    assert isinstance(talk.received(frame, now=0.1)[0], Close)
    assert talk.state is State.PARKED
    assert "API key is invalid." in talk.reason
    assert talk.passed(299.0) == []
    assert talk.renew(Credentials("new", "secret"))[-1] == Connect()


def test_a_skewed_clock_is_tried_again_soon():
    talk = session("wallet", endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=0.0, exchange_ms=0)
    talk.received(b'{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"c"}', now=0.1)
    assert talk.state is State.BACKOFF


def test_the_signature_is_the_documented_one():
    expected = "49a306f2e33774b3492b30b06948a6d1f6116e549323e6cfb3ab40f421755f9b"
    assert signature("test-secret", 1786106096123) == expected


def test_a_hole_in_a_book_is_told_and_a_fresh_snapshot_asked_for():
    talk = live(BOOK)
    talk.received(book(7, "snapshot"), now=1.0)
    talk.received(book(8), now=1.1)
    told = talk.received(book(10), now=1.2)
    assert told[0] == Interrupted(BOOK, "sequence jump", 1.1)
    [leave] = requests(told)
    assert leave["op"] == "unsubscribe"
    [ask] = requests(talk.received(reply(leave), now=1.3))
    assert ask["op"] == "subscribe"
    assert Resumed(BOOK) in talk.received(book(20, "snapshot"), now=1.4)


@pytest.mark.parametrize("update_id", [8, 1])
def test_the_next_update_and_a_restart_are_no_hole(update_id: int):
    talk = live(BOOK)
    talk.received(book(7, "snapshot"), now=1.0)
    assert not any(isinstance(told, Interrupted) for told in talk.received(book(update_id), now=1.1))


def test_a_silent_topic_is_asked_for_anew_alone_and_then_its_socket_replaced():
    talk = live(BOOK, TICKER)
    asked: list[dict[str, object]] = []
    told: list[Action] = []
    for tick in range(1, 200):
        now = tick / 2
        talk.received(push(TICKER), now)
        talk.received(PONG, now)
        if tick < 10:
            talk.received(book(tick), now)
        actions = talk.passed(now)
        while actions:
            told += actions
            asked += requests(actions)
            actions = [each for request in requests(actions) for each in talk.received(reply(request), now)]
        if talk.state is State.BACKOFF:
            break
    assert [(request["op"], request["args"]) for request in asked] == [("unsubscribe", [BOOK]), ("subscribe", [BOOK])]
    assert Interrupted(BOOK, "silent", 4.5) in told
    assert Close(f"{BOOK} remains silent after a new subscription") in told


def test_a_topic_that_says_yes_and_never_sends_is_told_as_unproven_once():
    talk = live("tickers.BTC-25JUN27-106000-P-USDT", endpoint="option")
    marks = []
    for second in range(1, 400):
        talk.received(b'{"args":["1672916271846"],"op":"pong"}', now=float(second))
        marks += [told for told in talk.passed(float(second)) if isinstance(told, Marked)]
    assert len(marks) == 1
    assert marks[0].reason.startswith("unproven")


def test_a_socket_without_topics_is_closed_after_a_while():
    talk = live(TRADES)
    answer(talk, talk.want([], now=1.0), now=1.0)
    assert not any(isinstance(told, Close) for told in talk.passed(10.0))
    talk.received(PONG, now=10.1)
    talk.passed(20.2)
    talk.received(PONG, now=20.3)
    assert talk.passed(31.5)[0] == Close("nothing is subscribed")
    assert talk.state is State.IDLE


@pytest.mark.parametrize("frame", [b"hello", b"[1]", b"\xff\xfe", b'{"topic":', b"NaN", b'{"a":NaN}', b"[" * 5000])
def test_a_frame_that_makes_no_sense_is_set_aside_and_the_next_one_flows(frame: bytes):
    talk = live(TRADES)
    assert isinstance(talk.received(frame, now=1.0)[0], SetAside)
    assert any(isinstance(told, Deliver) for told in talk.received(push(TRADES), now=1.1))


def test_what_an_earlier_life_left_is_missing_until_data_comes():
    talk = Session("linear", Timing(), now=0.0)
    assert talk.want(channels(TICKER, TRADES), 1.0, missed={TICKER})[0] == Interrupted(TICKER, "restart", 1.0)
    answer(talk, talk.opened(now=1.0, exchange_ms=0))
    assert talk.received(push(TICKER), now=2.0)[0] == Resumed(TICKER)
    assert talk.want(channels(TICKER, TRADES), 3.0, missed={TICKER}) == []


def test_a_topic_that_overflows_misses_something_until_it_is_over_although_data_flows():
    talk = live(TICKER)
    talk.received(push(TICKER), now=1.0)
    assert talk.overflowed([TICKER, "tickers.UNKNOWN"], since=0.5) == [Interrupted(TICKER, "overflow", 0.5)]
    assert talk.overflowed([TICKER], since=0.7) == []
    assert [type(each) for each in talk.received(push(TICKER), now=2.0)] == [Deliver]
    assert talk.overflow_over([TICKER], now=3.0) == [Resumed(TICKER)]


def test_a_book_that_overflowed_is_asked_for_anew_and_whole_with_its_snapshot():
    talk = live(BOOK)
    talk.received(book(5, "snapshot"), now=1.0)
    talk.overflowed([BOOK], since=0.5)
    [left] = requests(talk.overflow_over([BOOK], now=2.0))
    assert left["op"] == "unsubscribe"
    assert [type(each) for each in talk.received(book(6), now=2.0)] == [Deliver]
    [asked] = requests(talk.received(reply(left), now=2.0))
    assert asked["op"] == "subscribe"
    assert talk.received(book(9, "snapshot"), now=3.0)[0] == Resumed(BOOK)


def test_a_topic_that_overflows_and_is_not_wanted_any_more_is_over():
    talk = live(TICKER)
    talk.overflowed([TICKER], since=0.5)
    assert Resumed(TICKER) in answer(talk, talk.want([], now=1.0))


def test_a_topic_that_is_resubscribed_is_left_and_subscribed_to_anew():
    talk = live(TRADES, TICKER)
    talk.received(push(TICKER), now=1.0)
    actions = talk.resubscribe([TICKER, "tickers.UNKNOWN"], now=2.0)
    assert actions[0] == Interrupted(TICKER, "overflow", 2.0)
    [leave] = requests(actions)
    assert (leave["op"], leave["args"]) == ("unsubscribe", [TICKER])
    assert [type(each) for each in talk.received(push(TICKER), now=2.1)] == [Deliver]
    [subscribe] = requests(talk.received(reply(leave), now=2.2))
    assert (subscribe["op"], subscribe["args"]) == ("subscribe", [TICKER])
    assert talk.received(push(TICKER), now=2.3)[0] == Resumed(TICKER)


def test_a_book_that_is_resubscribed_is_whole_with_a_fresh_snapshot_and_not_before():
    talk = live(BOOK)
    talk.received(book(5, "snapshot"), now=1.0)
    [leave] = requests(talk.resubscribe([BOOK], now=2.0))
    assert [type(each) for each in talk.received(book(6), now=2.1)] == [Deliver]
    talk.received(reply(leave), now=2.2)
    assert [type(each) for each in talk.received(book(7), now=2.3)] == [Deliver]
    assert talk.received(book(9, "snapshot"), now=2.4)[0] == Resumed(BOOK)


def test_a_topic_that_is_interrupted_already_is_resubscribed_without_another_interruption():
    talk = live(BOOK)
    talk.received(book(5, "snapshot"), now=1.0)
    talk.received(book(7), now=1.1)
    assert talk.resubscribe([BOOK], now=2.0) == []


def test_a_topic_that_is_resubscribed_before_its_ack_is_left_once_it_is_acknowledged():
    talk = session(BOOK)
    [subscribe] = requests(talk.opened(now=0.0, exchange_ms=0))
    talk.received(book(5, "snapshot"), now=0.1)
    assert talk.resubscribe([BOOK], now=0.2) == [Interrupted(BOOK, "overflow", 0.2)]
    [leave] = requests(talk.received(reply(subscribe), now=0.3))
    assert (leave["op"], leave["args"]) == ("unsubscribe", [BOOK])


def test_a_topic_that_is_resubscribed_while_there_is_no_connection_is_subscribed_to_once():
    talk = live(TICKER)
    talk.lost("reset", now=1.0)
    assert talk.resubscribe([TICKER], now=1.5) == []
    talk.passed(2.0)
    [subscribe] = requests(talk.opened(now=2.0, exchange_ms=0))
    assert requests(talk.received(reply(subscribe), now=2.1)) == []


def test_a_book_whose_snapshot_does_not_come_is_asked_for_anew_again_and_again_but_not_at_once():
    talk = live(BOOK)
    talk.received(book(7), now=1.0)
    assert requests(talk.passed(5.0)) == []
    told = talk.passed(6.1)
    assert Interrupted(BOOK, "no snapshot", 0.0) in told
    answer(talk, told, now=6.1)
    talk.received(book(8), now=6.2)
    assert requests(talk.passed(11.0)) == []
    assert requests(talk.passed(12.2)) != []


def test_a_book_that_missed_its_snapshot_while_it_was_silent_is_whole_in_the_end():
    talk = live(BOOK)
    talk.received(book(1, "snapshot"), now=1.0)
    talk.received(PONG, now=22.0)
    answer(talk, talk.passed(22.0), now=22.0)  # silent: asked for anew, and the snapshot is lost
    assert [type(each) for each in talk.received(book(9), now=22.5)] == [Deliver]
    answer(talk, talk.passed(27.5), now=27.5)
    assert Resumed(BOOK) in talk.received(book(12, "snapshot"), now=28.0)
