"""Which sockets there are, and which topics each of them carries."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from common import settings
from common.channels import PATHS, Channel
from common.events import Event
from common.lifecycle import Running
from common.settings import Credentials
from ingestor.bybit.actions import Action
from ingestor.bybit.session import Session
from ingestor.feed.event_stream import EventStream
from ingestor.sockets.worker import ObservedConnection, SocketWorker

MOST_TOPIC_CHARACTERS = 20_000  # of a connection; Bybit says 21,000 (websocket/connect)
MOST_OPTION_TOPICS = 2_000
STOPPED_WITHIN_S = 12.0  # a connect that is under way ends within ten
_QUOTES_AND_COMMA = 3

HOSTS = {
    "mainnet": ("wss://stream.bybit.com", "wss://stream.bybit.com"),
    "testnet": ("wss://stream-testnet.bybit.com", "wss://stream-testnet.bybit.com"),
    "demo": ("wss://stream.bybit.com", "wss://stream-demo.bybit.com"),
    "simulator": ("ws://127.0.0.1:4480", "ws://127.0.0.1:4480"),
}
"""Environment to (public, private) origin; demo has no public data of its own."""


def url_of(bybit: settings.Bybit, endpoint: str) -> str:
    public, private = (bybit.ws_url, bybit.ws_url) if bybit.ws_url else HOSTS[bybit.environment]
    return (private if endpoint == "private" else public) + PATHS[endpoint]


@dataclass(slots=True)
class ConnectionSlot:
    """A stream and the topics that it carries."""

    stream: SocketWorker
    running: Running
    channels: dict[str, Channel] = field(default_factory=dict)
    characters: int = 0

    def has_room_for(self, topic: str) -> bool:
        if self.stream.endpoint == "option" and len(self.channels) >= MOST_OPTION_TOPICS:
            return False
        return self.characters + _weight(topic) <= MOST_TOPIC_CHARACTERS

    def drop(self, topics: Iterable[str]) -> None:
        for topic in topics:
            del self.channels[topic]
            self.characters -= _weight(topic)

    def add(self, channel: Channel) -> None:
        self.channels[channel.topic] = channel
        self.characters += _weight(channel.topic)


class ConnectionPool:
    """Keeps one stream per endpoint, and further ones where one socket cannot carry all topics."""

    name = "pool"

    def __init__(
        self, open_stream: Callable[[str, int], SocketWorker], start: Callable[[SocketWorker], Running]
    ) -> None:
        self._open_stream = open_stream
        self._start = start
        self._slots: dict[str, list[ConnectionSlot]] = {}
        self._lock = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        stop.wait()
        with self._lock:
            slots = [slot for slots in self._slots.values() for slot in slots]
        for slot in slots:
            slot.running.stop()
            slot.stream.want([])  # wakes it
        for slot in slots:
            slot.running.ended(within_s=STOPPED_WITHIN_S)

    def want(self, channels: Iterable[Channel]) -> None:
        """From now on exactly these are to be subscribed; a topic stays on the socket that carries it."""
        wanted: dict[str, dict[str, Channel]] = {}
        for channel in channels:
            wanted.setdefault(channel.endpoint, {})[channel.topic] = channel
        with self._lock:
            for endpoint in wanted.keys() | self._slots.keys():
                self._share_out(endpoint, wanted.get(endpoint, {}))

    def carried(self) -> set[tuple[str, str]]:
        """Endpoint and topic of everything that is to be subscribed."""
        with self._lock:
            return {(endpoint, topic) for endpoint, slots in self._slots.items() for b in slots for topic in b.channels}

    def retry_rejected(self, endpoint: str) -> None:
        for stream in self._of(endpoint):
            stream.ask(lambda session, now: session.retry_rejected(now))

    def tell(self, channel: Channel, make: Callable[[EventStream], Event]) -> bool:
        """Publish one more event in the stream of this topic; False when nobody carries it."""
        with self._lock:
            slots = self._slots.get(channel.endpoint, [])
            stream = next((slot.stream for slot in slots if channel.topic in slot.channels), None)
        if stream is not None:
            stream.tell(channel, make)
        return stream is not None

    def overflowed(self, keys: Iterable[str], since: float) -> set[str]:
        """Events of these routing keys were dropped; the answer are those that nobody carries."""
        unknown = set(keys)
        for stream, topics in self._carriers(unknown):
            stream.ask(partial(_overflowed, topics, since))
        return unknown

    def overflow_over(self, keys: Iterable[str]) -> set[str]:
        unknown = set(keys)
        for stream, topics in self._carriers(unknown):
            stream.ask(partial(_overflow_over, topics))
        return unknown

    def renew(self, credentials: Credentials | None) -> None:
        for stream in self._of("private"):
            stream.renew(credentials)

    def seen(self) -> list[ObservedConnection]:
        with self._lock:
            return [slot.stream.seen for slots in self._slots.values() for slot in slots]

    def _carriers(self, keys: set[str]) -> list[tuple[SocketWorker, list[str]]]:
        """The streams with those of their topics that have these keys; takes away the keys that were found."""
        found: list[tuple[SocketWorker, list[str]]] = []
        with self._lock:
            for slot in (slot for slots in self._slots.values() for slot in slots):
                mine = [channel for channel in slot.channels.values() if channel.routing_key in keys]
                keys -= {channel.routing_key for channel in mine}
                if mine:
                    found.append((slot.stream, [channel.topic for channel in mine]))
        return found

    def _of(self, endpoint: str) -> list[SocketWorker]:
        with self._lock:
            return [slot.stream for slot in self._slots.get(endpoint, [])]

    def _share_out(self, endpoint: str, wanted: dict[str, Channel]) -> None:
        """Only the streams whose topics change hear of it."""
        slots = self._slots.setdefault(endpoint, [])
        new, changed = dict(wanted), set[int]()
        for number, slot in enumerate(slots):
            if gone := slot.channels.keys() - wanted.keys():
                slot.drop(gone)
                changed.add(number)
            for topic in slot.channels:
                del new[topic]
        for channel in new.values():
            number = self._with_room(endpoint, channel.topic)
            slots[number].add(channel)
            changed.add(number)
        for number in changed:
            slots[number].stream.want(list(slots[number].channels.values()))

    def _with_room(self, endpoint: str, topic: str) -> int:
        slots = self._slots[endpoint]
        for number, slot in enumerate(slots):
            if slot.has_room_for(topic):
                return number
        stream = self._open_stream(endpoint, len(slots))
        slots.append(ConnectionSlot(stream, self._start(stream)))
        return len(slots) - 1


def _overflowed(topics: list[str], since: float, session: Session, _now: float) -> Sequence[Action]:
    return session.overflowed(topics, since)


def _overflow_over(topics: list[str], session: Session, now: float) -> Sequence[Action]:
    return session.overflow_over(topics, now)


def _weight(topic: str) -> int:
    return len(topic) + _QUOTES_AND_COMMA
