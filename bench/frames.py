"""Recorded frames made ready to be sent at any rate, each with a number and its time of sending in it.

Both stand in the last `seq` (trades, books) or `cs` (tickers) of a frame: nineteen digits, nine for the number and
ten for the microseconds of the monotonic clock, which all processes of a machine share. A book's `u` rises by one
per message of its topic, as the exchange's does.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from simulator import recordings

_CLASSES = ("publicTrade.", "tickers.", "orderbook.")
_FIRST_NUMBER = 100_000_000  # keeps the digits nineteen, and below 2**63
_CLOCK = 10**10
_MARK = re.compile(rb'"(?:seq|cs)":(\d{12})(?:\}\]\}|,"ts":\d{13}\}|\},"cts":\d{13}\})$')
_TS = re.compile(rb'"ts":(\d{13})')
_U = re.compile(rb'"u":(\d+)')
MARK_DIGITS = 19
MARK_ENDS = {b"trades": 3, b"ticker": 20, b"orderbook": 22}
"""How far before the end of a frame the mark ends, by class."""


def now_us() -> int:
    return time.monotonic_ns() // 1000 % _CLOCK


def mark(number: int, sent_us: int) -> bytes:
    return b"%d%010d" % (_FIRST_NUMBER + number, sent_us)


def read_mark(digits: bytes) -> tuple[int, int]:
    """Number and time of sending."""
    return int(digits[:9]) - _FIRST_NUMBER, int(digits[9:])


def since_us(sent_us: int, now: int) -> int:
    return (now - sent_us) % _CLOCK


@dataclass(slots=True)
class Template:
    """A frame in pieces: what lies between them is written again each time."""

    topic: str
    snapshot: bool  # of a book
    format: bytes  # for the `%` operator
    fields: tuple[str, ...]  # ts, u and mark in the order in which they stand
    size: int

    def framed(self, values: dict[str, bytes]) -> bytes:
        text = self.format % tuple([values[name] for name in self.fields])
        size = len(text)
        if size < 126:
            return bytes((0x81, size)) + text
        return b"\x81\x7e" + size.to_bytes(2, "big") + text


def templates() -> list[Template]:
    """Trades, tickers and books of the shipped recording, in its order."""
    return [_template(frame) for frame in recordings.shipped().frames if frame.topic.startswith(_CLASSES)]


def topics() -> list[str]:
    return sorted({template.topic for template in templates()})


@dataclass(slots=True)
class Mix:
    """The recording over and over: books begin with their snapshot and go on with deltas only."""

    templates: list[Template] = field(default_factory=templates)
    _u: dict[str, int] = field(default_factory=dict)
    _rest: Iterator[Template] = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A new connection: every book needs its snapshot first."""
        self._u = {}
        self._rest = self._endless()

    def next(self, number: int, sent_us: int, ts: bytes) -> bytes:
        template = next(self._rest)
        values = {"ts": ts, "mark": mark(number, sent_us)}
        if "u" in template.fields:
            u = self._u[template.topic] = self._u.get(template.topic, 10_000_000) + 1
            values["u"] = b"%d" % u
        return template.framed(values)

    def _endless(self) -> Iterator[Template]:
        yield from (each for each in self.templates if each.snapshot)
        flow = [each for each in self.templates if not each.snapshot]
        while True:
            yield from flow


def _template(frame: recordings.Recorded) -> Template:
    text = frame.text.encode()
    places: list[tuple[int, int, str]] = []
    for name, pattern in (("ts", _TS), ("u", _U), ("mark", _MARK)):
        if name == "u" and not frame.topic.startswith("orderbook."):
            continue
        found = pattern.search(text)
        assert found is not None, f"the recording's {frame.topic} has no {name}"
        places.append((*found.span(1), name))
    pieces, at = b"", 0
    for start, end, _ in sorted(places):
        pieces += text[at:start].replace(b"%", b"%%") + b"%b"
        at = end
    snapshot = frame.topic.startswith("orderbook.") and b'"type":"snapshot"' in text
    fields = tuple(name for *_, name in sorted(places))
    return Template(frame.topic, snapshot, pieces + text[at:].replace(b"%", b"%%"), fields, len(text))
