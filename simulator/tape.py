"""A recording repeated as an endless market.

The tape is a loop of whole minutes. Pass after pass it repeats what was recorded, with every time, update
id, sequence and trade id moved on, so that it stays a stream the exchange could have sent. Without a salt
a pass depends on its number alone, so after a restart the stream goes on as if nothing had happened.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from simulator.candles import MINUTE_MS, Candle, Trade, with_trades
from simulator.recordings import Recorded, Recording
from simulator.samples import compact

PASSES_COUNT_FROM_MS = 1_735_689_600_000  # 2025-01-01: u stays below 2**31 for decades
SEAM_MS = 250  # cts runs up to 104 ms behind ts; it must not fall back at a seam
KLINE = "kline.1."

_NUMBERS = re.compile(
    r'"(?:(?P<time>ts|cts|T|start|end|timestamp)|(?P<u>u)|(?P<seq>seq|cs))":\s*(?P<number>\d+)'
    r'|"i":\s*"(?P<id>[^"]+)"'
)


@dataclass(frozen=True, slots=True)
class Shift:
    """The offsets that are added to the numbers of a frame."""

    time_ms: int = 0
    u: int = 0
    seq: int = 0
    new_id: Callable[[str], str] = field(default=str)

    def apply(self, text: str) -> str:
        return _NUMBERS.sub(self._moved, text)

    def _moved(self, found: re.Match[str]) -> str:
        if found["id"] is not None:
            return found[0].replace(found["id"], self.new_id(found["id"]))
        by = self.time_ms if found["time"] else self.u if found["u"] else self.seq
        return found[0].removesuffix(found["number"]) + str(int(found["number"]) + by)


@dataclass(frozen=True, slots=True)
class Cue:
    """A frame of the loop and when it is due, in recorded time."""

    at_ms: int
    topic: str
    text: str


@dataclass(frozen=True, slots=True)
class Loop:
    start_ms: int
    period_ms: int
    cues: tuple[Cue, ...]
    u_step: dict[str, int]
    seq_step: dict[str, int]

    def pass_at(self, now_ms: int) -> int:
        return (now_ms - self.start_ms) // self.period_ms

    def shift(self, topic: str, number: int, salt: str) -> Shift:
        turns = number + (self.start_ms - PASSES_COUNT_FROM_MS) // self.period_ms
        return Shift(
            time_ms=number * self.period_ms,
            u=turns * self.u_step.get(topic, 0),
            seq=turns * self.seq_step.get(symbol_of(topic), 0),
            new_id=lambda recorded: fresh_id(recorded, f"{salt}/{number}"),
        )


class Tape:
    """Plays a loop as time passes."""

    def __init__(self, loop: Loop, salt: str, now_ms: int) -> None:
        self._loop = loop
        self._salt = salt
        self._pass = loop.pass_at(now_ms) - 1
        self._next = 0

    @property
    def topics(self) -> frozenset[str]:
        return frozenset(cue.topic for cue in self._loop.cues)

    def due(self, now_ms: int) -> Iterator[Cue]:
        """Frames up to this moment, moved to it; at first also those of the pass before."""
        while (cue := self._loop.cues[self._next]).at_ms + self._pass * self._loop.period_ms <= now_ms:
            shift = self._loop.shift(cue.topic, self._pass, self._salt)
            yield Cue(cue.at_ms + shift.time_ms, cue.topic, shift.apply(cue.text))
            self._next = (self._next + 1) % len(self._loop.cues)
            self._pass += self._next == 0


def symbol_of(topic: str) -> str:
    return topic.rpartition(".")[2]


def fresh_id(recorded: str, salt: str) -> str:
    """Another trade id of the same form: a UUID, or decimal digits."""
    made = uuid5(NAMESPACE_OID, f"{salt}/{recorded}")
    return str(made) if "-" in recorded else str(10 ** (len(recorded) - 1) + made.int % 10 ** (len(recorded) - 1))


def loop_of(recording: Recording) -> Loop:
    """The recording, a filler up to the full minute, and candles that fit both."""
    takes = list(_in_exchange_time(recording.frames))
    start_ms = takes[0].at_ms
    tape_end_ms = takes[-1].at_ms + SEAM_MS
    period_ms = -(-(tape_end_ms + SEAM_MS - start_ms) // MINUTE_MS) * MINUTE_MS
    plain = [cue for cue in takes if not cue.topic.startswith("kline.")]
    filler = list(_filler(plain, tape_end_ms - start_ms, start_ms + period_ms - SEAM_MS))
    looped = plain + filler
    if period_ms == MINUTE_MS:
        looped += _candle_cues([cue for cue in takes if cue.topic.startswith(KLINE)], looped, start_ms)
    looped.sort(key=lambda cue: cue.at_ms)
    return Loop(start_ms, period_ms, tuple(looped), _spans(looped, "u", topicwise), _spans(looped, "seq|cs", symbol_of))


def topicwise(topic: str) -> str:
    return topic


def _in_exchange_time(frames: Iterable[Recorded]) -> Iterator[Cue]:
    """Frames by the exchange's push time, books from their first snapshot on."""
    begun: set[str] = set()
    latest: dict[str, int] = {}
    cues = []
    for frame in frames:
        if frame.topic not in begun and frame.topic.startswith("orderbook.") and '"delta"' in frame.text[:120]:
            continue
        begun.add(frame.topic)
        at_ms = max(_number(frame.text, "ts"), latest.get(frame.topic, 0))
        latest[frame.topic] = at_ms
        cues.append(Cue(at_ms, frame.topic, frame.text))
    return iter(sorted(cues, key=lambda cue: cue.at_ms))


def _number(text: str, key: str) -> int:
    found = re.search(rf'"{key}":(\d+)', text)
    if found is None:
        raise ValueError(f"a frame without {key}: {text[:100]}")
    return int(found[1])


def _filler(tape: list[Cue], later_ms: int, end_ms: int) -> Iterator[Cue]:
    """The beginning of the tape once more, as far as it fits."""
    u_step = _spans(tape, "u", topicwise)
    seq_step = _spans(tape, "seq|cs", symbol_of)
    for cue in tape:
        if cue.at_ms + later_ms >= end_ms:
            return
        shift = Shift(
            time_ms=later_ms,
            u=u_step.get(cue.topic, 0),
            seq=seq_step.get(symbol_of(cue.topic), 0),
            new_id=lambda recorded: fresh_id(recorded, "filler"),
        )
        yield Cue(cue.at_ms + later_ms, cue.topic, shift.apply(cue.text))


def _spans(cues: Iterable[Cue], keys: str, group: Callable[[str], str]) -> dict[str, int]:
    """The number of values that each group uses per pass."""
    lowest: dict[str, int] = {}
    highest: dict[str, int] = {}
    for cue in cues:
        for found in re.finditer(rf'"(?:{keys})":(\d+)', cue.text):
            name, number = group(cue.topic), int(found[1])
            lowest[name] = min(number, lowest.get(name, number))
            highest[name] = max(number, highest.get(name, number))
    return {name: highest[name] - lowest[name] + 1 for name in lowest}


def _candle_cues(klines: list[Cue], others: list[Cue], start_ms: int) -> Iterator[Cue]:
    for topic in sorted({cue.topic for cue in klines}):
        recorded = [cue for cue in klines if cue.topic == topic]
        trades = [cue for cue in others if cue.topic == f"publicTrade.{symbol_of(topic)}"]
        yield from _one_candle(topic, recorded, trades, start_ms)


def _one_candle(topic: str, recorded: list[Cue], trades: list[Cue], start_ms: int) -> Iterator[Cue]:
    """Recorded frames from the roll-over on; before it the candle of the pass before, kept by its trades.

    A recording without a roll-over in one frame gives no legal candle; the topic is then made up.
    """
    entries = [json.loads(cue.text)["data"] for cue in recorded]
    roll = next((n for n, data in enumerate(entries) if [e["confirm"] for e in data] == [True, False]), None)
    if roll is None:
        return
    candle = Candle.from_entry(entries[-1][-1])
    rolls_at_ms = recorded[roll].at_ms + MINUTE_MS
    traded_ms = recorded[-1].at_ms
    waiting = [t for cue in _around(trades) for t in trades_in(cue.text) if traded_ms < t.at_ms <= candle.end_ms]
    for at_ms in range(traded_ms + 1000, rolls_at_ms, 1000):
        if fresh := [trade for trade in waiting if traded_ms < trade.at_ms <= at_ms]:
            entry = with_trades(candle, fresh).entry(False, at_ms)
            yield _placed(topic, compact([entry]), at_ms, start_ms)
        traded_ms = at_ms
    closing = with_trades(candle, [trade for trade in waiting if trade.at_ms > traded_ms]).entry(True, rolls_at_ms)
    closed = Shift(time_ms=-MINUTE_MS).apply(compact(closing))
    opened = recorded[roll].text
    old = entries[roll][0]
    yield Cue(recorded[roll].at_ms, topic, opened.replace(compact(old), closed))
    yield from recorded[roll + 1 :]


def _around(cues: list[Cue]) -> Iterator[Cue]:
    """The pass, and its beginning again a minute later."""
    yield from cues
    for cue in cues:
        yield Cue(cue.at_ms + MINUTE_MS, cue.topic, Shift(time_ms=MINUTE_MS).apply(cue.text))


def _placed(topic: str, data: str, at_ms: int, start_ms: int) -> Cue:
    """A candle frame at its place in the loop; past the end it opens the loop."""
    cue = Cue(at_ms, topic, f'{{"topic":"{topic}","data":{data},"ts":{at_ms},"type":"snapshot"}}')
    if at_ms < start_ms + MINUTE_MS:
        return cue
    return Cue(at_ms - MINUTE_MS, topic, Shift(time_ms=-MINUTE_MS).apply(cue.text))


def trades_in(text: str) -> list[Trade]:
    rows: list[dict[str, Any]] = json.loads(text)["data"]
    return [Trade(r["T"], r["s"], r["S"], r["v"], r["p"], r["i"], r["seq"]) for r in rows]
