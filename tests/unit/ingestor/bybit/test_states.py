"""The transitions of a connection and of a topic: each can occur, and none is missing."""

from collections.abc import Callable, Hashable, Mapping
from enum import Enum

import pytest

from ingestor.bybit.session import Session
from ingestor.bybit.states import (
    TOPIC_TRANSITIONS,
    TRANSITIONS,
    ConnectionEvent,
    State,
    TopicEvent,
    TopicState,
)
from tests.unit.ingestor.bybit.conversation import BOOK, PONG, TRADES, answer, channels, live, reply, requests, session

NOPE = "handler not found,topic:" + BOOK
FILLERS = [f"tickers.S{number}USDT" for number in range(200)]  # twenty requests, and more are not sent


class Talk:
    """A conversation about one book, whose state is in question."""

    def __init__(self, *others: str) -> None:
        self.session = session(BOOK, *others)
        self.others = others
        self.sent = requests(self.session.opened(now=0.0, exchange_ms=0))

    @property
    def state(self) -> TopicState:
        return self.session.topics.by_name[BOOK].state

    def answer(self, refusal: str = "") -> "Talk":
        """Answer the oldest request."""
        self.sent += requests(self.session.received(reply(self.sent.pop(0), refusal), now=1.0))
        return self

    def incomplete(self) -> "Talk":
        self.sent += requests(self.session.resubscribe([BOOK], now=1.0))
        return self

    def lose(self) -> "Talk":
        self.session.lost("reset", now=1.0)
        return self

    def reconnect(self) -> "Talk":
        self.session.passed(now=1.0)
        return self

    def open(self) -> "Talk":
        self.session.opened(now=1.0, exchange_ms=0)
        return self

    def unwant(self) -> "Talk":
        self.session.want(channels(*self.others), now=1.0)
        return self

    def wait(self) -> "Talk":
        """Until the answer is overdue."""
        self.session.received(PONG, now=6.5)
        self.session.passed(now=6.5)
        return self

    def retry_rejected(self) -> "Talk":
        self.session.retry_rejected(now=1.0)
        return self


def renewing() -> Talk:
    """To be unsubscribed, and no request can be sent."""
    talk = Talk().answer()
    talk.others = tuple(FILLERS)
    talk.sent = requests(talk.session.want(channels(BOOK, *FILLERS), now=1.0))
    return talk.incomplete()


def pending() -> Talk:
    return Talk().lose().reconnect()


CASES: list[tuple[str, str, Callable[[], Talk], Callable[[Talk], Talk], str]] = [
    ("pending", "SUBSCRIBE", pending, Talk.open, "subscribing"),
    ("pending", "INCOMPLETE", pending, Talk.incomplete, "pending"),
    ("pending", "DISCONNECTED", pending, Talk.lose, "pending"),
    ("subscribing", "ACKNOWLEDGED", Talk, Talk.answer, "subscribed"),
    ("subscribing", "REFUSED", Talk, lambda talk: talk.answer(NOPE), "rejected"),
    ("subscribing", "RETRY", Talk, Talk.wait, "subscribing"),
    ("subscribing", "UNCERTAIN", lambda: Talk(TRADES).unwant(), Talk.wait, "unsubscribing"),
    ("subscribing", "INCOMPLETE", Talk, Talk.incomplete, "outdated"),
    ("subscribing", "DISCONNECTED", Talk, Talk.lose, "pending"),
    ("outdated", "ACKNOWLEDGED", lambda: Talk().incomplete(), Talk.answer, "unsubscribing"),
    ("outdated", "REFUSED", lambda: Talk().incomplete(), lambda talk: talk.answer(NOPE), "rejected"),
    ("outdated", "RETRY", lambda: Talk().incomplete(), Talk.wait, "subscribing"),
    ("outdated", "UNCERTAIN", lambda: Talk(TRADES).incomplete().unwant(), Talk.wait, "unsubscribing"),
    ("outdated", "INCOMPLETE", lambda: Talk().incomplete(), Talk.incomplete, "outdated"),
    ("outdated", "DISCONNECTED", lambda: Talk().incomplete(), Talk.lose, "pending"),
    ("subscribed", "INCOMPLETE", lambda: Talk().answer(), Talk.incomplete, "unsubscribing"),
    ("subscribed", "UNSUBSCRIBE", lambda: Talk(TRADES).answer(), Talk.unwant, "unsubscribing"),
    ("subscribed", "DISCONNECTED", lambda: Talk().answer(), Talk.lose, "pending"),
    ("renewing", "INCOMPLETE", renewing, Talk.incomplete, "renewing"),
    ("renewing", "UNSUBSCRIBE", renewing, Talk.answer, "unsubscribing"),
    ("renewing", "DISCONNECTED", renewing, Talk.lose, "pending"),
    ("unsubscribing", "UNSUBSCRIBED", lambda: Talk().answer().incomplete(), Talk.answer, "subscribing"),
    ("unsubscribing", "UNCERTAIN", lambda: Talk().answer().incomplete(), Talk.wait, "unsubscribing"),
    ("unsubscribing", "INCOMPLETE", lambda: Talk().answer().incomplete(), Talk.incomplete, "unsubscribing"),
    ("unsubscribing", "DISCONNECTED", lambda: Talk().answer().incomplete(), Talk.lose, "pending"),
    ("rejected", "SUBSCRIBE", lambda: Talk().answer(NOPE), Talk.retry_rejected, "subscribing"),
    ("rejected", "INCOMPLETE", lambda: Talk().answer(NOPE), Talk.incomplete, "rejected"),
    ("rejected", "DISCONNECTED", lambda: Talk().answer(NOPE), Talk.lose, "rejected"),
]
"""State, event, how to reach the one and cause the other, and the state after it: where a request can be sent,
PENDING and RENEWING are left at once."""


@pytest.mark.parametrize(("state", "event", "reach", "cause", "after"), CASES)
def test_each_transition_of_a_topic_occurs_in_a_conversation(
    state: str, event: str, reach: Callable[[], Talk], cause: Callable[[Talk], Talk], after: str
):
    talk = reach()
    assert talk.state == state
    assert cause(talk).state == after


def test_there_is_a_conversation_for_each_transition_of_a_topic():
    assert {(TopicState(state), TopicEvent[event]) for state, event, *_ in CASES} == TOPIC_TRANSITIONS.keys()


@pytest.mark.parametrize(
    ("table", "states", "events", "first"),
    [
        (TRANSITIONS, State, ConnectionEvent, State.IDLE),
        (TOPIC_TRANSITIONS, TopicState, TopicEvent, TopicState.PENDING),
    ],
)
def test_every_state_is_reached_and_left_and_every_event_occurs(
    table: Mapping[tuple[Hashable, Hashable], Hashable], states: type[Enum], events: type[Enum], first: Hashable
):
    reached = {first}
    for _ in table:
        reached |= {after for (before, _), after in table.items() if before in reached}
    assert reached == set(states)
    assert {before for (before, _), after in table.items() if before != after} == set(states)
    assert {event for _, event in table} == set(events)


def test_an_event_that_cannot_occur_is_an_error():
    talk: Session = live(BOOK)
    with pytest.raises(KeyError):
        talk.topics.by_name[BOOK].unsubscribed()
    with pytest.raises(KeyError):
        talk.opened(now=1.0, exchange_ms=0)
    assert answer(talk, talk.passed(1.0)) == []
