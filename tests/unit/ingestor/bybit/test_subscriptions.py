"""What is requested of the exchange, and what follows from its answers."""

import json

import pytest

from common.settings import Credentials
from ingestor.bybit.actions import (
    Close,
    Connect,
    Deliver,
    Marked,
    SetAside,
)
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


def test_a_request_has_at_most_ten_topics():
    sent = requests(session(*(f"publicTrade.S{n}" for n in range(25))).opened(now=0.0, exchange_ms=0))
    assert [str(request["args"]).count("publicTrade") for request in sent] == [10, 10, 5]


def test_data_before_the_ack_is_delivered():
    talk = session(TRADES)
    talk.opened(now=0.0, exchange_ms=0)
    frame = push(TRADES, ts=5)
    assert Deliver(TRADES, frame, 5) in talk.received(frame, now=0.1)


def test_a_late_push_after_unsubscribing_is_dropped_and_an_unknown_topic_set_aside():
    talk = live(TRADES, BOOK)
    answer(talk, talk.want(channels(TRADES), now=1.0))
    assert talk.received(book(1), now=2.0) == []
    assert isinstance(talk.received(push("tickers.STRANGE"), now=2.0)[0], SetAside)


def test_a_topic_that_sends_data_long_after_it_was_left_is_left_again():
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


def test_a_rejected_topic_that_sends_data_while_unwanted_is_left():
    talk = live(TRADES)
    [sent] = requests(talk.want(channels(TRADES, "tickers.NOPEUSDT"), now=1.0))
    talk.received(reply(sent, "error:handler not found,topic:tickers.NOPEUSDT"), now=1.1)
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


def test_unsubscribing_touches_no_other_topic():
    talk = live(TRADES, BOOK)
    [sent] = requests(talk.want(channels(TRADES), now=1.0))
    assert (sent["op"], sent["args"]) == ("unsubscribe", [BOOK])
    assert talk.topics.by_name[TRADES].state is TopicState.SUBSCRIBED


def test_a_refused_request_costs_only_the_topic_it_names():
    talk = session(TRADES, "tickers.NOPEUSDT", BOOK)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    text = "error:handler not found,topic:tickers.NOPEUSDT"
    actions = talk.received(reply(sent, text), now=0.1)
    assert Marked("tickers.NOPEUSDT", TopicState.REJECTED, text) in actions
    [again] = requests(actions)
    assert again["args"] == [TRADES, BOOK]


def test_after_a_refusal_that_names_no_topic_each_is_requested_alone():
    talk = session(TRADES, BOOK, TICKER)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    actions = talk.received(reply(sent, "Params Error"), now=0.1)
    assert [request["args"] for request in requests(actions)] == [[TRADES], [BOOK], [TICKER]]


def test_already_subscribed_counts_as_acknowledged():
    talk = session(TRADES)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    actions = talk.received(reply(sent, f"error:already subscribed,topic:{TRADES}"), now=0.1)
    assert Marked(TRADES, TopicState.SUBSCRIBED, "") in actions


def test_a_rejected_topic_is_retried_after_ten_minutes_and_when_the_listing_changes():
    talk = session(TRADES)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    talk.received(reply(sent, "error:handler not found"), now=0.0)
    talk.received(PONG, now=598.0)
    assert requests(talk.passed(599.0)) == []
    [again] = requests(talk.retry_rejected(now=599.5))
    talk.received(reply(again, "error:handler not found"), now=600.0)
    talk.received(PONG, now=1200.0)
    assert requests(talk.passed(1200.5)) != []


def test_option_answers_topic_by_topic():
    talk = session("tickers.A-C", "tickers.B-C", endpoint="option")
    talk.opened(now=0.0, exchange_ms=0)
    lists = {"failTopics": ["tickers.B-C"], "successTopics": ["tickers.A-C"]}
    frame = json.dumps({"success": True, "conn_id": "c", "data": lists, "type": "COMMAND_RESP"}).encode()
    states = {action.topic: action.state for action in talk.received(frame, now=0.1) if isinstance(action, Marked)}
    assert states == {"tickers.A-C": TopicState.SUBSCRIBED, "tickers.B-C": TopicState.REJECTED}


def test_private_answers_name_both_groups():
    talk = session("order", "nosuch", endpoint="private", credentials=Credentials("k", "s"))
    talk.opened(now=0.0, exchange_ms=0)
    actions = talk.received(b'{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}', now=0.1)
    [sent] = requests(actions)
    text = (
        "Batch subscription partially succeeded and partially failed.Successful subscriptions are as follows:[order]. "
        "Subscription to the following topics failed because the topic does not exist or there is a subscription "
        "conflict:[nosuch]."
    )
    states = {
        action.topic: action.state for action in talk.received(reply(sent, text), now=0.2) if isinstance(action, Marked)
    }
    assert states == {"order": TopicState.SUBSCRIBED, "nosuch": TopicState.REJECTED}


def test_a_request_without_an_answer_is_repeated_and_then_the_connection_is_left():
    talk = session(TRADES)
    talk.opened(now=0.0, exchange_ms=0)
    assert len(requests(talk.passed(5.0))) == 1
    assert len(requests(talk.passed(10.0))) == 1
    talk.received(PONG, now=14.0)
    assert talk.passed(15.0)[0] == Close(f"no answer to subscribe of {TRADES}")


def test_data_without_an_ack_counts_as_acknowledged():
    talk = session(TRADES)
    talk.opened(now=0.0, exchange_ms=0)
    talk.received(push(TRADES), now=1.0)
    assert Marked(TRADES, TopicState.SUBSCRIBED, "") in talk.passed(5.0)


def test_after_a_loss_everything_wanted_is_subscribed_again_and_nothing_else():
    talk = live(TRADES, BOOK, TICKER)
    answer(talk, talk.want(channels(TRADES, BOOK), now=1.0))
    talk.lost("reset", now=2.0)
    assert talk.passed(2.0)[-1] == Connect()
    [sent] = requests(talk.opened(now=2.1, exchange_ms=0))
    assert sent["args"] == [TRADES, BOOK]


def test_at_most_twenty_requests_are_in_flight_and_each_answer_makes_room():
    talk = session(*(f"tickers.S{number}" for number in range(220)))
    sent = requests(talk.opened(now=0.0, exchange_ms=0))
    assert len(sent) == 20
    assert len(requests(talk.received(reply(sent[0]), now=0.1))) == 1


def test_a_topic_that_is_wanted_again_while_it_is_left_again_waits_for_that_answer():
    talk = live(TRADES, TICKER)
    answer(talk, talk.want(channels(TRADES), now=1.0))
    [leave] = requests(talk.received(push(TICKER), now=6.1))
    assert requests(talk.want(channels(TRADES, TICKER), now=6.2)) == []
    [subscribe] = requests(talk.received(reply(leave), now=6.3))
    assert (subscribe["op"], subscribe["args"]) == ("subscribe", [TICKER])


def test_an_unwanted_topic_whose_subscribe_is_not_answered_is_left():
    talk = session(TRADES, TICKER)
    talk.opened(now=0.0, exchange_ms=0)
    talk.want(channels(TRADES), now=1.0)
    sent = {str(request["args"]): request["op"] for request in requests(talk.passed(5.0))}
    assert sent == {f"['{TICKER}']": "unsubscribe", f"['{TRADES}']": "subscribe"}


def test_a_topic_that_is_not_wanted_any_more_when_its_request_fails_is_forgotten():
    talk = session(TRADES, TICKER)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    talk.want(channels(TRADES), now=0.1)
    assert requests(talk.received(reply(sent, f"error:handler not found,topic:{TRADES}"), now=0.2)) == []
    assert list(talk.topics.by_name) == [TRADES]


def test_a_refusal_without_a_text_is_marked_too():
    talk = session(TRADES)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    frame = json.dumps({"success": False, "op": "subscribe", "req_id": sent["req_id"]}).encode()
    assert talk.received(frame, now=0.1) == [Marked(TRADES, TopicState.REJECTED, "refused without a reason")]


def test_the_same_refusal_is_marked_once():
    talk = session(TRADES)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    assert len(talk.received(reply(sent, "no"), now=0.1)) == 1
    [again] = requests(talk.retry_rejected(now=1.0))
    assert talk.received(reply(again, "no"), now=1.1) == []


def test_an_answer_to_no_request_changes_nothing():
    talk = live(TRADES)
    assert talk.received(b'{"success":false,"ret_msg":"late","op":"subscribe","req_id":"s99"}', now=1.0) == []


def test_an_ack_that_a_review_found_is_reported_also_when_the_same_review_leaves_the_connection():
    talk = session("tickers.MUTE")
    talk.opened(now=0.0, exchange_ms=0)
    for now in (5.0, 9.0):
        talk.received(PONG, now)
        talk.passed(now)
    talk.want(channels("tickers.MUTE", TICKER), now=9.5)
    talk.received(push(TICKER), now=9.6)
    talk.passed(10.0)
    talk.received(PONG, now=14.4)
    assert Marked(TICKER, TopicState.SUBSCRIBED, "") in talk.passed(15.0)
    assert talk.state is State.BACKOFF


def test_a_topic_that_is_listed_as_failed_has_that_reason():
    talk = session("tickers.A-C", "tickers.B-C", endpoint="option")
    talk.opened(now=0.0, exchange_ms=0)
    lists = {"failTopics": ["tickers.B-C"], "successTopics": ["tickers.A-C"]}
    frame = json.dumps({"success": True, "conn_id": "c", "data": lists, "type": "COMMAND_RESP"}).encode()
    assert Marked("tickers.B-C", TopicState.REJECTED, "listed in failTopics") in talk.received(frame, now=0.1)


def test_a_topic_is_live_with_its_ack_or_its_first_data_and_not_while_it_is_left():
    talk = session(TRADES, BOOK)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    trades, other = talk.topics.by_name[TRADES], talk.topics.by_name[BOOK]
    talk.received(push(TRADES), now=0.1)
    assert (trades.live, other.live, talk.topics.held) == (True, False, [])
    talk.received(reply(sent), now=0.2)
    assert (trades.live, other.live, talk.topics.held) == (True, True, [TRADES, BOOK])
    talk.want(channels(TRADES), now=0.3)
    assert (trades.live, other.live, talk.topics.held) == (True, False, [TRADES])


def test_a_topic_was_held_once_it_was_acknowledged_or_sent_data():
    talk = session(TRADES, BOOK, TICKER)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    talk.received(push(TICKER), now=0.1)
    talk.received(reply(sent, f"no,topic:{BOOK}"), now=0.1)
    talk.lost("reset", now=1.0)
    assert [name for name, topic in talk.topics.by_name.items() if topic.ever_held] == [TICKER]
    assert not talk.topics.whole
    assert live(TRADES).topics.whole


def test_an_ack_ends_the_reason_of_an_earlier_refusal():
    talk = session(TRADES)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    talk.received(reply(sent, "no"), now=0.1)
    assert talk.topics.by_name[TRADES].reason == "no"
    answer(talk, talk.retry_rejected(now=1.0), now=1.0)
    assert talk.topics.by_name[TRADES].reason == ""


@pytest.mark.parametrize("refusal", ["", "no"])
def test_an_answer_of_any_kind_ends_the_count_of_attempts(refusal: str):
    talk = session(TRADES)
    talk.opened(now=0.0, exchange_ms=0)
    [second] = requests(talk.passed(5.0))
    talk.received(reply(second, refusal), now=5.1)
    again = talk.retry_rejected(now=6.0) if refusal else talk.resubscribe([TRADES], now=6.0)
    assert len(requests(again)) == 1
    talk.received(PONG, now=11.0)
    assert len(requests(talk.passed(11.0))) == 1
    assert talk.state is State.LIVE


def test_a_new_connection_begins_to_count_attempts_again():
    talk = session(TRADES)
    talk.opened(now=0.0, exchange_ms=0)
    talk.passed(5.0)
    talk.passed(10.0)
    talk.lost("reset", now=11.0)
    talk.passed(11.0)
    talk.opened(now=11.0, exchange_ms=0)
    assert len(requests(talk.passed(16.0))) == 1


def test_rejected_topics_are_retried_alone_and_travel_together_once_they_are_acknowledged():
    talk = session(TRADES, BOOK)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    for request in requests(talk.received(reply(sent, "no"), now=0.1)):
        talk.received(reply(request, "no"), now=0.2)
    retried = talk.retry_rejected(now=1.0)
    assert [request["args"] for request in requests(retried)] == [[TRADES], [BOOK]]
    answer(talk, retried, now=1.1)
    [leave] = requests(talk.want([], now=2.0))
    assert leave["args"] == [TRADES, BOOK]


def test_a_refused_topic_is_retried_alone():
    talk = session(TRADES, BOOK)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    [again] = requests(talk.received(reply(sent, f"no,topic:{BOOK}"), now=0.1))
    talk.received(reply(again, "no"), now=0.2)
    assert [request["args"] for request in requests(talk.retry_rejected(now=1.0))] == [[TRADES], [BOOK]]


def test_topics_that_were_requested_alone_are_requested_together_on_the_next_connection():
    talk = session(TRADES, BOOK)
    [sent] = requests(talk.opened(now=0.0, exchange_ms=0))
    assert len(requests(talk.received(reply(sent, "no"), now=0.1))) == 2
    talk.lost("reset", now=1.0)
    talk.passed(1.0)
    assert len(requests(talk.opened(now=1.0, exchange_ms=0))) == 1
