"""Counts events that arrived: each number once, the numbers of each topic ascending."""

from array import array
from dataclasses import dataclass, field

from bench.frames import MARK_DIGITS, MARK_ENDS, now_us, read_mark, since_us
from bench.protocol import Message

_QUARTERS = 4
_NEVER = 0


@dataclass(slots=True)
class TopicPosition:
    """The position of the mark in frames of a topic, and the highest number received."""

    ends: int
    last: int = -1


@dataclass(slots=True)
class EventCounter:
    """Counts the numbers from `first` up to `first + most`."""

    first: int
    most: int
    wrapping: int  # bytes that follow the frame in a message
    now: int = 0
    duplicated: int = 0
    redelivered: int = 0  # duplicates that the broker redelivered, because they had not been acked
    disordered: int = 0
    foreign: int = 0
    received: int = 0
    _arrived: "array[int]" = field(init=False)
    _took: "array[int]" = field(init=False)
    _positions: dict[bytes, TopicPosition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._arrived = array("Q", bytes(8 * self.most))
        self._took = array("Q", bytes(8 * self.most))

    def arrive(self) -> None:
        """Read the clock for the deliveries that follow; an earlier reading could precede the time in the frame."""
        self.now = now_us()

    def keep(self, key: bytes, redelivered: bool, body: bytes) -> None:
        position = self._positions.get(key) or self._position(key)
        if position.ends < 0:
            return
        end = len(body) - position.ends
        number, sent_us = read_mark(body[end - MARK_DIGITS : end])
        number -= self.first
        if not 0 <= number < self.most:
            self.foreign += 1
        elif self._arrived[number] != _NEVER:
            self.duplicated += 1
            self.redelivered += redelivered
        else:
            self.received += 1
            self._arrived[number] = self.now + 1
            self._took[number] = since_us(sent_us, self.now)
            if number < position.last:
                self.disordered += 1
            else:
                position.last = number

    def report(self, sent: int, warm: int) -> Message:
        """Totals of `sent` events; the first `warm` of them do not count for latencies and rates."""
        counted = [number for number in range(warm, sent) if self._arrived[number] != _NEVER]
        took = [self._took[number] for number in counted]
        arrived = [self._arrived[number] for number in counted]
        span_s = (max(arrived) - min(arrived)) / 1e6 if len(arrived) > 1 else 0.0
        size = max(1, len(took) // _QUARTERS)
        quarters = [sorted(took[at : at + size]) for at in range(0, size * _QUARTERS, size)]
        took.sort()
        return {
            "received": self.received,
            "lost": sent - self.received,
            "duplicated": self.duplicated,
            "redelivered": self.redelivered,
            "disordered": self.disordered,
            "foreign": self.foreign,
            "per_s": round((len(arrived) - 1) / span_s, 1) if span_s else 0.0,
            "p50_ms": _quantile(took, 0.5),
            "p99_ms": _quantile(took, 0.99),
            "p999_ms": _quantile(took, 0.999),
            "quarters_p50_ms": [_quantile(each, 0.5) for each in quarters],
        }

    def span(self, start: int, end: int) -> Message:
        """The first and the last arrival of these numbers, in microseconds of the monotonic clock."""
        arrived = [self._arrived[number] for number in range(start, end) if self._arrived[number] != _NEVER]
        if not arrived:
            return {"count": 0, "first_us": 0, "last_us": 0}
        return {"count": len(arrived), "first_us": min(arrived), "last_us": max(arrived)}

    def on_time_from(self, moment_us: int, within_ms: float) -> int:
        """The moment from which on every latency was at most `within_ms`; 0 for never."""
        came = sorted(
            (arrived, took) for arrived, took in zip(self._arrived, self._took, strict=True) if arrived > moment_us
        )
        late = [at for at, (_, took) in enumerate(came) if took > within_ms * 1000]
        after = came[late[-1] + 1 :] if late else came
        return after[0][0] if after else 0

    def _position(self, key: bytes) -> TopicPosition:
        ends = MARK_ENDS.get(key.split(b".", 1)[0])
        return self._positions.setdefault(key, TopicPosition(-1 if ends is None else ends + self.wrapping))


def _quantile(ordered: list[int], part: float) -> float:
    """In milliseconds, of microseconds."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))] / 1000, 3) if ordered else 0.0
