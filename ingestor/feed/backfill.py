"""Backfill: which elements of a REST answer one topic has not delivered yet."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.channels import Channel
from ingestor.bybit import identity
from ingestor.bybit.actions import Deliver
from ingestor.bybit.identity import Element
from ingestor.feed.gaps import Gap

ANSWER_WITHIN_S = 5.0  # live events of private topics wait for REST no longer than this
OVERLAP_MS = 5_000  # the exchange's clock differs from ours, and frames were on their way
_MAX_BACKFILLED = 2_000  # elements: those of the last seconds come again, because requests overlap
_RECENT = {"execution": 2_000, "order": 2_000, "trades": 10, "kline": 10}  # frames: the last seconds


@dataclass(frozen=True, slots=True)
class HeldPush:
    """A live push that waits; `received_ns` is when it was read, by our wall clock."""

    push: Deliver
    received_ns: int


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """Requests the elements of a topic between two moments.

    These are the exchange's times, in ms; `answer_by` is monotonic, in s.
    """

    channel: Channel
    since_ms: int
    to_ms: int
    answer_by: float


class History(Protocol):
    """What REST answered, the oldest element first; `healed` is yes, in part or no."""

    @property
    def elements(self) -> Sequence[Element]: ...
    @property
    def failures(self) -> Sequence[str]: ...
    @property
    def healed(self) -> str: ...


@dataclass(slots=True)
class Backfill:
    """One topic. While a request is under way (`running`), live pushes of private topics wait (`holds`)."""

    channel: Channel
    due_at: float = float("inf")  # monotonic: not waited for any longer
    gap: Gap | None = None  # the one that the request is for
    held: list[HeldPush] = field(default_factory=list)
    _request: BackfillRequest | None = None  # the last one; an answer to an earlier one is too late
    _incomplete_since_ms: int | None = None  # of earlier requests that failed
    _from_ms: int = 0
    _to_ms: int = 0
    _before: deque[bytes] = field(init=False)  # the last live pushes before the request
    _after: list[bytes] = field(default_factory=list)  # live pushes since
    _backfilled: deque[str] = field(init=False)  # the last elements that a backfill delivered

    def __post_init__(self) -> None:
        self._before = deque(maxlen=_RECENT[self.channel.channel_type])
        self._backfilled = deque(maxlen=_MAX_BACKFILLED)

    @property
    def running(self) -> bool:
        return self.gap is not None

    @property
    def holds(self) -> bool:
        return self.gap is not None and self.channel.channel_type in identity.HELD_BACK

    def begin(self, gap: Gap, from_ms: int, to_ms: int, now: float) -> BackfillRequest:
        """Request what happened between these moments, and what earlier requests could not get.

        `from_ms` and `to_ms` are the exchange's time, `now` is monotonic; `gap` is the window that this fills.
        """
        since_ms = self._incomplete_since_ms
        self._from_ms = from_ms if since_ms is None else min(from_ms, since_ms)
        self._incomplete_since_ms = self._from_ms
        self._to_ms = to_ms
        self.gap = gap
        self.due_at = now + ANSWER_WITHIN_S
        self._request = BackfillRequest(self.channel, max(0, self._from_ms - OVERLAP_MS), to_ms, self.due_at)
        return self._request

    def awaits(self, request: BackfillRequest) -> bool:
        """Whether the answer to this request is still of use."""
        return self.running and request is self._request

    def pushed(self, frame: bytes) -> None:
        """A live push was delivered."""
        (self._before if self.gap is None else self._after).append(frame)

    def missing(self, elements: Iterable[Element]) -> list[Element]:
        """Those that no live push has delivered or will deliver, nor an earlier backfill, each once."""
        waiting = [each.push.frame for each in self.held]
        known = identity.identities(self.channel.channel_type, [*self._before, *self._after, *waiting])
        known.update(self._backfilled)
        found: list[Element] = []
        for element in elements:
            if element.key not in known and self._in_window(element):
                known.add(element.key)
                found.append(element)
        self._backfilled.extend(element.key for element in found)
        return found

    def end(self, *, complete: bool) -> list[HeldPush]:
        """The request is answered or given up; the pushes that waited, in the order in which they came."""
        held, self.held = self.held, []
        self.gap, self.due_at = None, float("inf")
        self._before.extend(self._after)
        self._after.clear()
        if complete:
            self._incomplete_since_ms = None
        return held

    def _in_window(self, element: Element) -> bool:
        """Trades are ordered in time: older ones than the last push before the window were delivered, and newer ones
        than the first push after it are. Of the other channel types every identity is known."""
        if self.channel.channel_type != "trades":
            return True
        last_before = max(identity.trade_times(self._before), default=self._from_ms)
        first_after = min(identity.trade_times(self._after), default=self._to_ms)
        return last_before <= element.time_ms <= first_after


def backfill_of(channel: Channel) -> Backfill | None:
    """None for a topic whose history Bybit does not offer over REST."""
    known = channel.channel_type in identity.BACKFILLED and channel.category != "spread"
    return Backfill(channel) if known else None
