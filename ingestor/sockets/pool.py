"""All connections: which topics each carries, and how other threads reach them."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from common import settings
from common.channels import Channel
from common.events import Dropped, Event
from common.settings import Credentials
from ingestor.bybit.endpoints import OPTION_TOPICS_PER_CONNECTION, WEBSOCKET_ORIGINS, WEBSOCKET_PATHS
from ingestor.feed.event_stream import EventStream
from ingestor.observed import ObservedConnection
from ingestor.sockets.mailbox import Mailbox, Publish, Renew, RetryRejected, Subscribe, TopicDropped

log = structlog.get_logger(__name__)

MOST_TOPIC_CHARACTERS = 20_000  # of a connection; below Bybit's CHARACTERS_PER_CONNECTION
_QUOTES_AND_COMMA = 3
UNCLAIMED_FOR_S = 60.0  # drops of an earlier run's topics, which are subscribed soon after a start
MAX_UNCLAIMED = 10_000


def url_of(bybit: settings.Bybit, endpoint: str) -> str:
    public, private = (bybit.ws_url, bybit.ws_url) if bybit.ws_url else WEBSOCKET_ORIGINS[bybit.environment]
    return (private if endpoint == "private" else public) + WEBSOCKET_PATHS[endpoint]


class ConnectionWorker(Protocol):
    """A connection's thread, as `worker.SocketWorker` is one."""

    name: str
    endpoint: str
    mailbox: Mailbox

    @property
    def observed(self) -> ObservedConnection: ...
    def wake(self) -> None:
        """End the wait of `run`, from any thread."""
        ...

    def run(self, stop: threading.Event) -> None: ...


@dataclass(slots=True)
class ConnectionSlot:
    """A worker and the topics that its connection carries."""

    worker: ConnectionWorker
    channels: dict[str, Channel] = field(default_factory=dict)
    by_routing_key: dict[str, str] = field(default_factory=dict)  # to the topic
    characters: int = 0

    def has_room_for(self, topic: str) -> bool:
        if self.worker.endpoint == "option" and len(self.channels) >= OPTION_TOPICS_PER_CONNECTION:
            return False
        return self.characters + _weight(topic) <= MOST_TOPIC_CHARACTERS

    def remove(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self.by_routing_key.pop(self.channels.pop(topic).routing_key, None)
            self.characters -= _weight(topic)

    def add(self, channel: Channel) -> None:
        self.channels[channel.topic] = channel
        self.by_routing_key[channel.routing_key] = channel.topic
        self.characters += _weight(channel.topic)

    def subscribe(self) -> None:
        """Let the worker hold exactly these topics."""
        self.worker.mailbox.replace(Subscribe(tuple(self.channels.values())))


class ConnectionPool:
    """All connections, and what reaches them from other threads. `allocation.Allocation` fills it."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._slots: dict[str, list[ConnectionSlot]] = {}
        self._unclaimed = UnclaimedDrops()
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()

    @contextmanager
    def changing(self) -> Iterator[dict[str, list[ConnectionSlot]]]:
        """The slots of each endpoint, to be changed; drops that waited for a topic are handed over afterwards."""
        with self._lock:
            yield self._slots
            self._unclaimed.offer(self._hand_over, self._monotonic_s())

    def slots(self) -> list[ConnectionSlot]:
        with self._lock:
            return [slot for slots in self._slots.values() for slot in slots]

    def observed(self) -> list[ObservedConnection]:
        return [slot.worker.observed for slot in self.slots()]

    def carried(self) -> set[tuple[str, str]]:
        """Endpoint and topic of everything that is to be subscribed."""
        with self._lock:
            slots = [slot for slots in self._slots.values() for slot in slots]
            return {(slot.worker.endpoint, topic) for slot in slots for topic in slot.channels}

    def retry_rejected(self, endpoint: str) -> None:
        """What the exchange refused on this endpoint may exist now."""
        for slot in self._of(endpoint):
            slot.worker.mailbox.replace(RetryRejected())

    def renew(self, credentials: Credentials | None) -> None:
        """These are the credentials from now on."""
        for slot in self._of("private"):
            slot.worker.mailbox.replace(Renew(credentials))

    def publish(self, channel: Channel, make: Callable[[EventStream], Event]) -> bool:
        """Publish one more event in the stream of this topic; False when no connection carries it, or can take it."""
        slot = next((slot for slot in self._of(channel.endpoint) if channel.topic in slot.channels), None)
        return slot is not None and slot.worker.mailbox.put(Publish(channel, make))

    def dropped(self, drops: Sequence[Dropped]) -> None:
        """The outbox dropped these events. It calls this while it holds its lock: nothing here waits for long."""
        with self._lock:
            for drop in drops:
                if not self._hand_over(drop):
                    self._unclaimed.add(drop, self._monotonic_s())

    def _hand_over(self, drop: Dropped) -> bool:
        """To the worker that carries the topic; False when none does."""
        for slot in (slot for slots in self._slots.values() for slot in slots):
            if (topic := slot.by_routing_key.get(drop.routing_key)) is not None:
                slot.worker.mailbox.dropped(TopicDropped(topic, drop.events, drop.oldest_s))
                return True
        return False

    def _of(self, endpoint: str) -> list[ConnectionSlot]:
        with self._lock:
            return list(self._slots.get(endpoint, []))


class UnclaimedDrops:
    """Drops of topics that no connection carries, for a while."""

    def __init__(self) -> None:
        self._drops: dict[str, tuple[float, Dropped]] = {}

    def add(self, drop: Dropped, now: float) -> None:
        first_at, before = self._drops.get(drop.routing_key, (now, None))
        if before is not None:
            events, oldest_s = before.events + drop.events, min(before.oldest_s, drop.oldest_s)
            drop = Dropped(drop.routing_key, events, oldest_s)
        elif len(self._drops) >= MAX_UNCLAIMED:
            return
        self._drops[drop.routing_key] = (first_at, drop)

    def offer(self, claim: Callable[[Dropped], bool], now: float) -> None:
        """Those that are claimed leave, and so do those that nothing has claimed for too long."""
        for key, (first_at, drop) in list(self._drops.items()):
            too_old = first_at <= now - UNCLAIMED_FOR_S
            if too_old:
                log.warning("events dropped of an unsubscribed topic", key=key, events=drop.events)
            if too_old or claim(drop):
                del self._drops[key]


def _weight(topic: str) -> int:
    return len(topic) + _QUOTES_AND_COMMA
