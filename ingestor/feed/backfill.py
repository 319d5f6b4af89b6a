"""Which of the past, as REST tells it, one topic has not had yet."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from common.channels import Channel
from ingestor.bybit import identity
from ingestor.bybit.actions import Deliver
from ingestor.bybit.identity import Element

ANSWER_WITHIN_S = 5.0  # longer than this nobody waits for REST
OVERLAP_MS = 5_000  # the exchange's clock and ours, and what was on its way
_RECENT = {"execution": 2_000, "order": 2_000, "trades": 10, "kline": 10}  # frames: the last seconds


@dataclass(frozen=True, slots=True)
class HeldPush:
    """A live push that waits until the past is told."""

    data: Deliver
    received_ns: int


@dataclass(slots=True)
class Backfill:
    """One topic. From `begin` to `end` the past is being asked for; where it `holds`, live pushes wait so long."""

    channel: Channel
    until: float = float("inf")  # monotonic
    number: int = 0  # of the question; an answer to an earlier one comes too late
    window_ns: int = 0  # the gap that is being healed began then, by our clock
    unhealed_ms: int | None = None  # the oldest moment from which something is still missing
    held: list[HeldPush] = field(default_factory=list)
    _from_ms: int = 0
    _asked_ms: int = 0
    _recent: deque[bytes] = field(init=False)  # live pushes, the last ones before the window
    _since: list[bytes] = field(default_factory=list)  # those that came after it, while it is healed

    def __post_init__(self) -> None:
        self._recent = deque(maxlen=_RECENT[self.channel.channel_type])

    @property
    def asking(self) -> bool:
        return self.until != float("inf")

    @property
    def holds(self) -> bool:
        return self.asking and self.channel.channel_type in identity.HELD_BACK

    def begin(self, window_ns: int, from_ms: int, now_ms: int, now: float) -> int:
        """Ask for the past from the moment that this answers with."""
        self.number += 1
        self.until, self.window_ns, self._asked_ms = now + ANSWER_WITHIN_S, window_ns, now_ms
        self._from_ms = from_ms if self.unhealed_ms is None else min(from_ms, self.unhealed_ms)
        self.unhealed_ms = self._from_ms
        return max(0, self._from_ms - OVERLAP_MS)

    def pushed(self, frame: bytes) -> None:
        """A live push is on its way to the broker."""
        (self._since if self.asking else self._recent).append(frame)

    def missing(self, past: Iterable[Element]) -> list[Element]:
        """What of the past no push has told or will tell, each once."""
        waiting = [each.data.frame for each in self.held]
        told = identity.identities(self.channel.channel_type, [*self._recent, *self._since, *waiting])
        found: list[Element] = []
        for element in past:
            if element.key not in told and self._in_window(element):
                told.add(element.key)
                found.append(element)
        return found

    def end(self, healed: bool) -> list[HeldPush]:
        """It was told, or nobody waits any longer; the pushes that were held, in order."""
        held, self.held = self.held, []
        self.until = float("inf")
        self._recent.extend(self._since)
        self._since.clear()
        if healed:
            self.unhealed_ms = None
        return held

    def _in_window(self, element: Element) -> bool:
        """Trades come in order: what is older than the last one before the window, or younger than the first one
        after it, came or comes live. Of the others every key is known."""
        if self.channel.channel_type != "trades":
            return True
        last_before = max(identity.trade_times(self._recent), default=self._from_ms)
        first_after = min(identity.trade_times(self._since), default=self._asked_ms)
        return last_before <= element.time_ms <= first_after


def backfill_of(channel: Channel) -> Backfill | None:
    """None for a topic whose past REST does not tell."""
    known = channel.channel_type in identity.HEALED and channel.category != "spread"
    return Backfill(channel) if known else None
