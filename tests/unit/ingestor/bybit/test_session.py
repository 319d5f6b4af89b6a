"""The connection: when it is opened, kept alive, authenticated and left."""

import json

import pytest

from common.settings import Credentials
from ingestor.bybit.actions import (
    Clock,
    ClockDoubted,
    Close,
    Connect,
    Deliver,
    Entered,
    Send,
    SetAside,
)
from ingestor.bybit.auth import signature
from ingestor.bybit.messages import PING
from ingestor.bybit.session import Session, Timing
from ingestor.bybit.states import State
from tests.unit.ingestor.bybit.conversation import (
    BOOK,
    PONG,
    TRADES,
    answer,
    channels,
    live,
    push,
    requests,
    session,
)


def test_it_connects_when_something_is_wanted_and_not_before():
    talk = Session("linear", Timing(), now=0.0)
    assert talk.want([], now=0.0) == []
    assert talk.want(channels(TRADES), now=0.0)[-1] == Connect()


def test_it_subscribes_once_the_connection_is_open():
    [sent] = requests(session(TRADES, BOOK).opened(now=1.0, exchange_ms=0))
    assert (sent["op"], sent["args"]) == ("subscribe", [TRADES, BOOK])


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
    sent = talk.opened(now=0.0, exchange_ms=0)
    assert talk.failures == 3
    answer(talk, sent)
    assert talk.failures == 0


def test_it_waits_as_long_as_the_exchange_requires():
    talk = session(TRADES)
    talk.lost("429", now=0.0, wait_s=60.0)
    assert talk.due_at() == 60.0


def test_private_subscribes_only_after_it_is_authenticated():
    talk = session("wallet", endpoint="private", credentials=Credentials("key", "secret"))
    [challenge] = requests(talk.opened(now=0.0, exchange_ms=1_000_000))
    assert challenge["args"] == ["key", 1_010_000, signature("secret", 1_010_000)]
    actions = talk.received(b'{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}', now=0.1)
    assert Entered(State.LIVE, "authenticated") in actions
    assert requests(actions)[0]["args"] == ["wallet"]


def test_private_topics_without_credentials_are_parked_and_nothing_is_dialled():
    talk = Session("private", Timing(), now=0.0)
    wanted = talk.want(channels("order", endpoint="private"), now=0.0)
    assert wanted == [Entered(State.PARKED, "no credentials")]
    assert talk.due_at() == float("inf")
    assert talk.passed(1e9) == []
    assert talk.renew(None) == []
    assert talk.failures == 0


def test_the_first_credentials_end_the_parking_at_once():
    talk = session("order", endpoint="private")
    assert talk.renew(Credentials("key", "secret")) == [
        Entered(State.CONNECTING, "there are new credentials"),
        Connect(),
    ]
    [challenge] = requests(talk.opened(now=1.0, exchange_ms=0))
    assert challenge["op"] == "auth"


def test_a_lost_private_connection_is_parked_when_the_credentials_were_withdrawn():
    talk = session("order", endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=0.0, exchange_ms=0)
    talk.renew(None)
    talk.lost("reset", now=1.0)
    assert talk.passed(talk.due_at()) == [Entered(State.PARKED, "no credentials")]
    assert talk.due_at() == float("inf")


def test_credentials_withdrawn_while_it_connects_park_the_connection():
    talk = session("order", endpoint="private", credentials=Credentials("key", "secret"))
    talk.renew(None)
    assert talk.opened(now=0.0, exchange_ms=0) == [Close("no credentials"), Entered(State.PARKED, "no credentials")]
    assert talk.due_at() == float("inf")


def test_a_refused_key_that_is_removed_is_not_retried():
    talk = session("order", endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=0.0, exchange_ms=0)
    talk.received(b'{"success":false,"ret_msg":"API key is invalid.","op":"auth","conn_id":"c"}', now=0.1)
    talk.renew(None)
    assert talk.passed(300.1) == [Entered(State.PARKED, "no credentials")]
    assert (talk.reason, talk.due_at()) == ("no credentials", float("inf"))


def test_a_refused_key_parks_the_connection_until_there_are_new_credentials():
    talk = session("wallet", endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=0.0, exchange_ms=0)
    frame = b'{"success":false,"ret_msg":"API key is invalid.","op":"auth","conn_id":"c"}'
    assert isinstance(talk.received(frame, now=0.1)[0], Close)
    assert talk.state is State.PARKED
    assert "API key is invalid." in talk.reason
    assert talk.passed(299.0) == []
    assert talk.renew(Credentials("new", "secret"))[-1] == Connect()


def test_a_skewed_clock_is_retried_soon():
    talk = session("wallet", endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=0.0, exchange_ms=0)
    talk.received(b'{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"c"}', now=0.1)
    assert talk.state is State.BACKOFF


def test_a_connection_without_topics_is_closed_after_a_while():
    talk = live(TRADES)
    answer(talk, talk.want([], now=1.0), now=1.0)
    assert not any(isinstance(action, Close) for action in talk.passed(10.0))
    talk.received(PONG, now=10.1)
    talk.passed(20.2)
    talk.received(PONG, now=20.3)
    assert talk.passed(31.5)[0] == Close("nothing is subscribed")
    assert talk.state is State.IDLE


@pytest.mark.parametrize("frame", [b"hello", b"[1]", b"\xff\xfe", b'{"topic":', b"NaN", b'{"a":NaN}', b"[" * 5000])
def test_a_frame_that_cannot_be_parsed_is_set_aside_and_the_next_one_delivered(frame: bytes):
    talk = live(TRADES)
    assert isinstance(talk.received(frame, now=1.0)[0], SetAside)
    assert any(isinstance(action, Deliver) for action in talk.received(push(TRADES), now=1.1))


def test_an_authentication_without_an_answer_is_left_after_five_seconds():
    talk = session("wallet", endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=10.0, exchange_ms=0)
    assert (talk.due_at(), talk.passed(14.9)) == (15.0, [])
    assert talk.passed(15.0)[0] == Close("no answer to auth")
    assert (talk.state, talk.opened_at, talk.credentials) == (State.BACKOFF, 10.0, Credentials("key", "secret"))


def test_a_loss_while_nothing_is_connected_changes_nothing():
    talk = session(TRADES)
    talk.lost("refused", now=0.0)
    assert talk.lost("refused", now=1.0) == []
    assert talk.failures == 1


def test_a_parked_connection_whose_topics_are_not_wanted_any_more_becomes_idle():
    talk = session("order", endpoint="private")
    talk.want([], now=1.0)
    assert talk.passed(1.0) == [Entered(State.IDLE, "nothing is subscribed")]


def test_new_credentials_wait_for_the_next_connection_while_this_one_works():
    talk = session("order", endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=0.0, exchange_ms=0)
    assert talk.renew(Credentials("new", "secret")) == []
    assert talk.credentials == Credentials("new", "secret")


def test_a_skewed_clock_is_doubted():
    talk = session("wallet", endpoint="private", credentials=Credentials("key", "secret"))
    talk.opened(now=0.0, exchange_ms=0)
    actions = talk.received(b'{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"c"}', now=0.1)
    assert ClockDoubted() in actions


def test_an_unknown_refusal_is_retried_once_and_then_parks_the_connection():
    talk = session("wallet", endpoint="private", credentials=Credentials("key", "secret"))
    frame, states = b'{"success":false,"ret_msg":"?","op":"auth","conn_id":"c"}', []
    for now in (0.0, 1.0):
        talk.passed(now)
        talk.opened(now, exchange_ms=0)
        talk.received(frame, now)
        states.append(talk.state)
    assert states == [State.BACKOFF, State.PARKED]


@pytest.mark.parametrize(("args", "exchange_ms"), [(["1672916271846"], 1672916271846), ([], None)])
def test_a_pong_brings_the_round_trip_and_perhaps_the_exchange_s_clock(args: list[str], exchange_ms: int | None):
    talk = live(TRADES)
    talk.passed(10.0)
    frame = json.dumps({"args": args, "op": "pong"}).encode()
    assert talk.received(frame, now=10.25) == [Clock(exchange_ms, 0.25)]


def test_it_is_due_when_the_next_review_answer_ping_or_pong_is():
    talk = session(TRADES)
    talk.opened(now=0.0, exchange_ms=0)
    assert talk.due_at() == 1.0
    talk.passed(4.2)
    assert talk.due_at() == 5.0
    answer(talk, talk.passed(5.0), now=5.0)
    talk.passed(14.2)
    assert talk.due_at() == 15.0
    talk.passed(15.0)
    talk.passed(19.5)
    assert talk.due_at() == 20.0
