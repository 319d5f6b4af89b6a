"""The interfaces that a connection's worker uses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from common.channels import Channel
from common.events import Event
from ingestor.feed.backfill import BackfillRequest, History
from ingestor.feed.feed import Instant
from ingestor.sockets.transport import Unfit


class Connection(Protocol):
    """A WebSocket connection, as `transport.Transport` is one. `send` and `receive` raise Lost when it is gone."""

    def fileno(self) -> int: ...
    @property
    def pending(self) -> bool: ...
    def send(self, text: str) -> None: ...
    def receive(self) -> Sequence[bytes | Unfit]: ...
    def close(self) -> None: ...


class Poller(Protocol):
    """Waits for connections and for other threads, which call `wake`."""

    woken: bool  # in the last wait

    def wait(self, connections: Sequence[Connection], wait_s: float) -> list[Connection]: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class EventSink(Protocol):
    def put(self, events: Sequence[Event], *, private: bool) -> bool:
        """Take these events over, in order; False when they are to be offered again later."""
        ...


class Clocks(Protocol):
    def now(self) -> Instant: ...
    def monotonic_s(self) -> float:
        """That of `now` alone, which takes a fraction of the time: several are needed for each read."""
        ...

    def observe(self, exchange_ms: int, rtt_s: float) -> None:
        """The exchange's clock showed this in the middle of a round trip."""
        ...


class Budget(Protocol):
    def wait_s(self, *, private: bool, now: float) -> float:
        """0 when we may connect now, which counts; otherwise how long to wait."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all workers use. None of the callables may wait for long."""

    outbox: EventSink
    clocks: Clocks
    budget: Budget
    changed: Callable[[], None]  # `observed` shows something new
    live: Callable[[], None]  # from now on the connection can miss something, which the next run has to know
    subscribed: Callable[[Channel], None]  # the exchange acknowledged it
    request_backfill: Callable[[BackfillRequest, Callable[[History], None]], None]  # with the callback for the answer
    clock_doubted: Callable[[], None]  # the exchange refused a time of ours
