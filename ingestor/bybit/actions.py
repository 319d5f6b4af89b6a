"""What the thread around a session is to do. Topics are named as Bybit names them; times are monotonic, in seconds."""

from dataclasses import dataclass
from typing import NamedTuple

from ingestor.bybit.states import State, TopicState


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection; then call `opened`, or `lost` when that fails."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send this text frame."""

    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection; the session already counts it as lost."""

    reason: str


class Deliver(NamedTuple):
    """Publish this push, unchanged; `time_ms` is the exchange's own time of it."""

    topic: str
    frame: bytes
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class SetAside:
    """Quarantine this frame, which cannot be parsed or belongs to no topic; the next one may be fine."""

    frame: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Entered:
    """The connection's state changed."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Marked:
    """The exchange acknowledged or rejected a topic, or the reason of that changed."""

    topic: str
    state: TopicState  # SUBSCRIBED or REJECTED
    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """From `since` on, the topic may have missed something, until it is Resumed."""

    topic: str
    cause: str
    since: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """From here on, the topic misses nothing; comes before the Deliver of the push that shows it."""

    topic: str


@dataclass(frozen=True, slots=True)
class Clock:
    """A ping was answered after `rtt_s`; `exchange_ms` is the exchange's clock, where the endpoint sends it."""

    exchange_ms: int | None
    rtt_s: float


@dataclass(frozen=True, slots=True)
class ClockDoubted:
    """The exchange refused a time of ours: request its own over REST."""


Action = Connect | Send | Close | Deliver | SetAside | Entered | Marked | Interrupted | Resumed | Clock | ClockDoubted
