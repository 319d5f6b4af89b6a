"""Connects clients with markets and account: subscriptions, and pushes to their subscribers."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from simulator.account import Account, Push
from simulator.clock import Clock
from simulator.connections import Connection
from simulator.conversations import Act, Close, Conversation, HangUp, Open, Send
from simulator.exact import Play
from simulator.faults import Faults, Frame, Where
from simulator.market import Market

PRIVATE = "private"
RESTS_TIMES = 3  # from the beginning of one advance to the next, in times of what it took


@dataclass(slots=True)
class Client:
    """A connection and the state of its session."""

    connection: Connection
    conversation: Conversation
    play: Play | None = None
    topics: set[str] = field(default_factory=set)

    def where(self, topic: str = "") -> Where:
        return Where(endpoint=self.connection.endpoint, connection=self.connection.id, topic=topic)


class Hub:
    def __init__(self, clock: Clock, markets: dict[str, Market], account: Account, faults: Faults) -> None:
        self._clock = clock
        self._markets = markets
        self._account = account
        self._faults = faults
        self.stirred = asyncio.Event()
        self.clients: dict[str, Client] = {}
        self._holders: dict[tuple[str, str], dict[str, Client]] = {}
        self._rests_until_s = 0.0

    def welcome(self, client: Client) -> None:
        self.clients[client.connection.id] = client

    def farewell(self, client: Client) -> None:
        self.clients.pop(client.connection.id, None)
        self._faults.forget(client.connection.id)
        self._close(client, list(client.topics))

    @property
    def watched(self) -> bool:
        return bool(self._holders)

    def heard(self, client: Client, text: str) -> None:
        """Answer a request of a client."""
        self.advance()
        for act in client.conversation.received(text, self._clock.now_ms()):
            self._perform(client, act)

    def advance(self) -> None:
        """Advance the market and the account to this moment, and push to the subscribers.

        What takes long rests for longer, so that a market of very many topics leaves time for pings and requests.
        """
        began_s = self._clock.seconds()
        if began_s < self._rests_until_s:
            return
        self._advance(self._clock.market_ms())
        self._rests_until_s = began_s + RESTS_TIMES * (self._clock.seconds() - began_s)

    def _advance(self, now_ms: int) -> None:
        for category, market in self._markets.items():
            for topic, text in market.advance(now_ms):
                self.announce(category, topic, text)
        self.push(self._account.passed(now_ms))

    def push(self, pushes: Iterable[Push]) -> None:
        for push in pushes:
            for topic in (push.kind, f"{push.kind}.{push.category}"):
                self.announce(PRIVATE, topic, push.as_topic(topic))

    def announce(self, endpoint: str, topic: str, text: str) -> None:
        """Send data to all subscribers of the topic."""
        for client in self.holders(endpoint, topic):
            self.send(client, topic, text)

    def holders(self, endpoint: str, topic: str) -> list[Client]:
        return list(self._holders.get((endpoint, topic), {}).values())

    def send(self, client: Client, topic: str, text: str) -> None:
        """Push data of a topic, changed where a fault demands it."""
        where = client.where(topic)
        if self._faults.take("silence", where):
            return
        for frame in self._faults.data(where, text):
            client.connection.active_s = self._clock.seconds()
            client.connection.send(frame)

    def restart_book(self, endpoint: str, topic: str) -> int:
        """Restart a book; return the number of clients that got its new snapshot."""
        self.advance()
        frames = self._markets[endpoint].restart_book(topic, self._clock.market_ms())
        for text in frames:
            self.announce(endpoint, topic, text)
        return len(self.holders(endpoint, topic)) if frames else 0

    def _perform(self, client: Client, act: Act) -> None:
        match act:
            case Send(text, kind):
                self._say(client, Frame(text.encode()), kind)
            case Open(topics):
                self._open(client, topics)
            case Close(topics):
                self._close(client, topics)
            case HangUp():
                client.connection.hang_up()

    def _say(self, client: Client, frame: Frame, kind: str) -> None:
        where = client.where()
        silent = self._faults.take("silence", where)
        if silent or (kind == "pong" and self._faults.take("mute_pongs", where)):
            return
        if kind == "ack" and self._faults.take("lost_ack", where):
            return
        if kind == "ack" and (late := self._faults.take("late_ack", where)):
            loop = asyncio.get_running_loop()
            loop.call_later(late.details["delay_s"], client.connection.send, frame)
            return
        client.connection.send(frame)

    def _open(self, client: Client, topics: Iterable[str]) -> None:
        client.topics.update(topics)
        if client.play is not None:
            client.play.subscribed(topics)
            return
        endpoint = client.connection.endpoint
        for topic in topics:
            frames = self._opening(endpoint, topic)
            if frames and (stale := self._faults.take("stale_snapshot", client.where(topic))):
                client.connection.send(Frame(b"", pace="pause", pause_s=stale.details["age_s"]))
            for frame in frames:
                self.send(client, topic, frame)
            self._holders.setdefault((endpoint, topic), {})[client.connection.id] = client
        self.stirred.set()

    def _opening(self, endpoint: str, topic: str) -> list[str]:
        market = self._markets.get(endpoint)
        return [] if market is None else market.open(topic, self._clock.market_ms())

    def _close(self, client: Client, topics: Iterable[str]) -> None:
        client.topics.difference_update(topics)
        if client.play is not None:
            client.play.unsubscribed(topics)
        endpoint = client.connection.endpoint
        for topic in topics:
            holders = self._holders.get((endpoint, topic), {})
            holders.pop(client.connection.id, None)
            if not holders and self._holders.pop((endpoint, topic), None) is not None and endpoint in self._markets:
                self._markets[endpoint].close(topic)
