"""Where connections meet the market: who holds what, and who is told."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from simulator.account import Account, Push
from simulator.clock import Clock
from simulator.connections import Connection
from simulator.conversations import Act, Close, Conversation, HangUp, Open, Say
from simulator.exact import Play
from simulator.market import Market

PRIVATE = "private"


@dataclass(slots=True)
class Guest:
    """A connection together with what was said on it."""

    connection: Connection
    conversation: Conversation
    play: Play | None = None
    topics: set[str] = field(default_factory=set)


class Hub:
    def __init__(self, clock: Clock, markets: dict[str, Market], account: Account) -> None:
        self._clock = clock
        self._markets = markets
        self._account = account
        self.stirred = asyncio.Event()
        self.guests: dict[str, Guest] = {}
        self._holders: dict[tuple[str, str], dict[str, Guest]] = {}

    def welcome(self, guest: Guest) -> None:
        self.guests[guest.connection.id] = guest

    def farewell(self, guest: Guest) -> None:
        self.guests.pop(guest.connection.id, None)
        self._close(guest, list(guest.topics))

    @property
    def watched(self) -> bool:
        return bool(self._holders)

    def heard(self, guest: Guest, text: str) -> None:
        """Answer a request of a guest."""
        self.advance()
        for act in guest.conversation.received(text, self._clock.now_ms()):
            self._perform(guest, act)

    def advance(self) -> None:
        """Let the market and the account come to this moment, and tell their holders."""
        now_ms = self._clock.market_ms()
        for category, market in self._markets.items():
            for topic, text in market.advance(now_ms):
                for guest in list(self._holders.get((category, topic), {}).values()):
                    self.tell(guest, topic, text)
        self.push(self._account.passed(now_ms))

    def push(self, pushes: Iterable[Push]) -> None:
        for push in pushes:
            for topic in (push.kind, f"{push.kind}.{push.category}"):
                for guest in list(self._holders.get((PRIVATE, topic), {}).values()):
                    self.tell(guest, topic, push.as_topic(topic))

    def _perform(self, guest: Guest, act: Act) -> None:
        match act:
            case Say(text):
                guest.connection.send(text)
            case Open(topics):
                self._open(guest, topics)
            case Close(topics):
                self._close(guest, topics)
            case HangUp():
                guest.connection.abort()

    def _open(self, guest: Guest, topics: Iterable[str]) -> None:
        if guest.play is not None:
            guest.play.subscribed(topics)
            guest.topics.update(topics)
            return
        market = self._markets.get(guest.connection.endpoint)
        for topic in topics:
            for frame in market.open(topic, self._clock.market_ms()) if market is not None else ():
                self.tell(guest, topic, frame)
            guest.topics.add(topic)
            self.stirred.set()
            self._holders.setdefault((guest.connection.endpoint, topic), {})[guest.connection.id] = guest

    def _close(self, guest: Guest, topics: Iterable[str]) -> None:
        endpoint = guest.connection.endpoint
        if guest.play is not None:
            guest.play.unsubscribed(topics)
        for topic in topics:
            guest.topics.discard(topic)
            holders = self._holders.get((endpoint, topic), {})
            holders.pop(guest.connection.id, None)
            if not holders and self._holders.pop((endpoint, topic), None) is not None and endpoint in self._markets:
                self._markets[endpoint].close(topic)

    def tell(self, guest: Guest, topic: str, text: str) -> None:
        """Send data of a topic."""
        del topic
        guest.connection.active_s = self._clock.seconds()
        guest.connection.send(text)
