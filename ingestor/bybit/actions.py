"""What the thread around a session is to do."""

from dataclasses import dataclass
from typing import NamedTuple

from ingestor.bybit.states import State, TopicState


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a socket; then call `opened`, or `lost` when that fails."""


@dataclass(frozen=True, slots=True)
class Send:
    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket; the session already counts it as lost."""

    reason: str


class Deliver(NamedTuple):
    topic: str
    frame: bytes
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """The frame makes no sense; the next one may."""

    frame: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Entered:
    """The socket's state changed."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Marked:
    """A topic's state changed."""

    topic: str
    state: TopicState
    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """From `since` on, the topic may have missed something."""

    topic: str
    cause: str
    since: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """The topic flows again: nothing is missed from here on."""

    topic: str


@dataclass(frozen=True, slots=True)
class Clock:
    """The exchange told its time, `rtt_s` after we asked."""

    exchange_ms: int | None
    rtt_s: float


@dataclass(frozen=True, slots=True)
class ClockDoubted:
    """The exchange refused a time of ours: ask for its own."""


Action = Connect | Send | Close | Deliver | SetAside | Entered | Marked | Interrupted | Resumed | Clock | ClockDoubted
