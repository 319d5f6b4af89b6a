"""From when on a topic may have missed something, and until when."""

import pytest

from ingestor.bybit.actions import (
    Action,
    Close,
    Deliver,
    Interrupted,
    Marked,
    Resumed,
)
from ingestor.bybit.session import Session, Timing
from ingestor.bybit.states import State, TopicState
from tests.unit.ingestor.bybit.conversation import (
    BOOK,
    PONG,
    TICKER,
    TRADES,
    answer,
    book,
    channels,
    live,
    push,
    reply,
    requests,
    session,
)


def test_a_push_of_a_subscription_that_ends_is_delivered_and_resumes_nothing():
    talk = session()
    talk.want(channels(TICKER), now=0.0, missed=[TICKER])
    answer(talk, talk.opened(now=0.0, exchange_ms=0))
    talk.want([], now=1.0)
    talk.want(channels(TICKER), now=2.0)  # before the unsubscribe is answered
    assert talk.received(push(TICKER), now=3.0) == [Deliver(TICKER, push(TICKER), 1)]


def test_a_loss_interrupts_a_topic_until_its_next_push():
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


def test_a_book_with_a_hole_is_interrupted_and_subscribed_again():
    talk = live(BOOK)
    talk.received(book(7, "snapshot"), now=1.0)
    talk.received(book(8), now=1.1)
    actions = talk.received(book(10), now=1.2)
    assert actions[0] == Interrupted(BOOK, "sequence jump", 1.1)
    [leave] = requests(actions)
    assert leave["op"] == "unsubscribe"
    [subscribe] = requests(talk.received(reply(leave), now=1.3))
    assert subscribe["op"] == "subscribe"
    assert Resumed(BOOK) in talk.received(book(20, "snapshot"), now=1.4)


@pytest.mark.parametrize("update_id", [8, 1])
def test_the_next_update_and_a_restart_of_the_exchange_leave_no_hole(update_id: int):
    talk = live(BOOK)
    talk.received(book(7, "snapshot"), now=1.0)
    assert not any(isinstance(action, Interrupted) for action in talk.received(book(update_id), now=1.1))


def test_a_silent_topic_is_subscribed_again_alone_and_then_its_connection_replaced():
    talk = live(BOOK, TICKER)
    sent: list[dict[str, object]] = []
    found: list[Action] = []
    for tick in range(1, 200):
        now = tick / 2
        talk.received(push(TICKER), now)
        talk.received(PONG, now)
        if tick < 10:
            talk.received(book(tick), now)
        actions = talk.passed(now)
        while actions:
            found += actions
            sent += requests(actions)
            actions = [each for request in requests(actions) for each in talk.received(reply(request), now)]
        if talk.state is State.BACKOFF:
            break
    assert [(request["op"], request["args"]) for request in sent] == [("unsubscribe", [BOOK]), ("subscribe", [BOOK])]
    assert Interrupted(BOOK, "silent", 4.5) in found
    assert Close(f"{BOOK} remains silent after a new subscription") in found


def test_a_topic_that_is_acknowledged_and_never_sends_is_marked_as_unproven_once():
    talk = live("tickers.BTC-25JUN27-106000-P-USDT", endpoint="option")
    marks = []
    for second in range(1, 400):
        talk.received(b'{"args":["1672916271846"],"op":"pong"}', now=float(second))
        marks += [action for action in talk.passed(float(second)) if isinstance(action, Marked)]
    assert len(marks) == 1
    assert marks[0].reason.startswith("unproven")


def test_what_a_restart_interrupted_resumes_with_data():
    talk = Session("linear", Timing(), now=0.0)
    assert talk.want(channels(TICKER, TRADES), 1.0, missed={TICKER})[0] == Interrupted(TICKER, "restart", 1.0)
    answer(talk, talk.opened(now=1.0, exchange_ms=0))
    assert talk.received(push(TICKER), now=2.0)[0] == Resumed(TICKER)
    assert talk.want(channels(TICKER, TRADES), 3.0, missed={TICKER}) == []


def test_a_topic_that_is_resubscribed_is_left_and_subscribed_to_again():
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


def test_a_book_that_is_resubscribed_resumes_with_a_fresh_snapshot_and_not_before():
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


def test_a_book_without_a_snapshot_is_subscribed_again_every_five_seconds():
    talk = live(BOOK)
    talk.received(book(7), now=1.0)
    assert requests(talk.passed(5.0)) == []
    actions = talk.passed(6.1)
    assert Interrupted(BOOK, "no snapshot", 0.0) in actions
    answer(talk, actions, now=6.1)
    talk.received(book(8), now=6.2)
    assert requests(talk.passed(11.0)) == []
    assert requests(talk.passed(12.2)) != []


def test_a_silent_book_whose_new_snapshot_is_lost_resumes_in_the_end():
    talk = live(BOOK)
    talk.received(book(1, "snapshot"), now=1.0)
    talk.received(PONG, now=22.0)
    answer(talk, talk.passed(22.0), now=22.0)  # silent: subscribed again, and the snapshot is lost
    assert [type(each) for each in talk.received(book(9), now=22.5)] == [Deliver]
    answer(talk, talk.passed(27.5), now=27.5)
    assert Resumed(BOOK) in talk.received(book(12, "snapshot"), now=28.0)


def test_a_quiet_topic_that_is_resubscribed_before_its_ack_resumes_with_the_next_ack():
    talk = session(TRADES)
    [subscribe] = requests(talk.opened(now=0.0, exchange_ms=0))
    talk.resubscribe([TRADES], now=0.1)
    actions = talk.received(reply(subscribe), now=0.2)
    assert Resumed(TRADES) not in actions
    assert talk.received(push(TRADES), now=0.3) == [Deliver(TRADES, push(TRADES), 1)]
    assert Resumed(TRADES) in answer(talk, actions, now=0.4)


def test_a_topic_that_is_not_wanted_any_more_is_interrupted_no_longer():
    talk = live(TRADES, TICKER)
    talk.received(push(TICKER), now=1.0)
    talk.lost("reset", now=2.0)
    assert talk.want(channels(TRADES), now=3.0) == [Resumed(TICKER)]


def test_a_topic_that_was_never_subscribed_or_is_rejected_is_not_interrupted_by_a_loss():
    talk = session(TRADES, TICKER)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    answer(talk, talk.received(reply(sent, f"no,topic:{TRADES}"), now=0.1), now=0.1)
    actions = talk.lost("reset", now=1.0)
    assert [action for action in actions if isinstance(action, Interrupted)] == [Interrupted(TICKER, "reset", 0.1)]


def test_a_delta_on_a_new_connection_does_not_continue_the_old_one():
    talk = live(BOOK)
    talk.received(book(7, "snapshot"), now=1.0)
    talk.lost("reset", now=2.0)
    talk.passed(2.0)
    answer(talk, talk.opened(now=2.0, exchange_ms=0), now=2.0)
    assert [type(each) for each in talk.received(book(50), now=2.1)] == [Deliver]
    assert talk.topics.by_name[BOOK].state is TopicState.SUBSCRIBED
