"""Commands of other threads to a connection's worker."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, Full, Queue

from common.channels import Channel
from common.events import Event
from common.settings import Credentials
from ingestor.feed.backfill import BackfillRequest, History
from ingestor.feed.event_stream import EventStream

MAX_COMMANDS = 1_000


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Exactly these topics, from now on."""

    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Renew:
    """The credentials from now on, None if there are none."""

    credentials: Credentials | None


@dataclass(frozen=True, slots=True)
class RetryRejected:
    """What the exchange refused may exist now."""


@dataclass(frozen=True, slots=True)
class Publish:
    """One more event in the stream of this topic, made with its next number."""

    channel: Channel
    make: Callable[[EventStream], Event]


@dataclass(frozen=True, slots=True)
class Answered:
    request: BackfillRequest
    history: History


@dataclass(frozen=True, slots=True)
class TopicDropped:
    """The outbox dropped events of this topic, the oldest read at this Unix time."""

    topic: str
    events: int
    oldest_s: int


Command = Subscribe | Renew | RetryRejected | Publish | Answered | TopicDropped


class Mailbox:
    """Putting something in never waits: the outbox does it while it holds a lock.

    Of commands that replace each other only the newest is kept; drops of a topic are added up. The others wait in a
    bounded queue.
    """

    def __init__(self, wake: Callable[[], None], max_commands: int = MAX_COMMANDS) -> None:
        self._wake = wake
        self._queue: Queue[Publish | Answered] = Queue(max_commands)
        self._newest: dict[str, Subscribe | Renew | RetryRejected] = {}
        self._drops: dict[str, TopicDropped] = {}
        self._lock = threading.Lock()

    def put(self, command: Publish | Answered) -> bool:
        """False when the queue is full, and the command is not taken."""
        try:
            self._queue.put_nowait(command)
        except Full:
            return False
        self._wake()
        return True

    def replace(self, command: Subscribe | Renew | RetryRejected) -> None:
        with self._lock:
            self._newest[type(command).__name__] = command
        self._wake()

    def dropped(self, drop: TopicDropped) -> None:
        with self._lock:
            if (before := self._drops.get(drop.topic)) is not None:
                oldest_s = min(before.oldest_s, drop.oldest_s)
                drop = TopicDropped(drop.topic, before.events + drop.events, oldest_s)
            self._drops[drop.topic] = drop
        self._wake()

    def next(self) -> Command | None:
        """The next command, the replaceable ones first; None when there is none."""
        with self._lock:
            if self._newest:
                return self._newest.pop(next(iter(self._newest)))
            if self._drops:
                return self._drops.pop(next(iter(self._drops)))
        try:
            return self._queue.get_nowait()
        except Empty:
            return None
