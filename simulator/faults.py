"""Faults: which, where, how often and for how long."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

TEXT, BINARY, PONG = 0x1, 0x2, 0xA
HUGE_BYTES = 2 * 1024 * 1024
DEEP_LEVELS = 100_000

GARBAGE = (
    "not_json",
    "truncated",
    "empty",
    "array",
    "binary",
    "invalid_utf8",
    "huge",
    "deep",
    "nan",
    "unknown_topic",
    "missing_ts",
    "unknown_fields",
)
REPLACING = ("missing_ts", "unknown_fields")  # the frame itself in another guise, so it is not sent besides

_TIME = re.compile(r'"(ts|creationTime)":\s*\d+,?')


@dataclass(frozen=True, slots=True)
class Where:
    """What a fault may match; empty values match everything."""

    endpoint: str = ""
    connection: str = ""
    topic: str = ""
    path: str = ""


@dataclass(slots=True)
class Fault:
    id: int
    kind: str
    only: Mapping[str, str]
    left: int | None = None
    until_s: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, kind: str, where: Where, now_s: float) -> bool:
        alive = (self.left is None or self.left > 0) and (self.until_s is None or now_s < self.until_s)
        return alive and self.kind == kind and all(getattr(where, k) == wanted for k, wanted in self.only.items())


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes for a socket: whole, slow in pieces, half and then nothing more, or none but a pause."""

    payload: bytes
    opcode: int = TEXT
    pace: str = "whole"
    pieces: int = 1
    pause_s: float = 0.0


class Faults:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ids = count(1)
        self._set: dict[int, Fault] = {}
        self._held_back: dict[str, list[Frame]] = {}

    def add(
        self,
        kind: str,
        only: Mapping[str, str],
        times: int | None,
        seconds: float | None,
        details: Mapping[str, Any],
    ) -> Fault:
        until_s = None if seconds is None else self._clock() + seconds
        fault = Fault(next(self._ids), kind, only, times, until_s, details)
        self._set[fault.id] = fault
        return fault

    def remove(self, number: int) -> bool:
        return self._set.pop(number, None) is not None

    def clear(self) -> None:
        self._set.clear()

    def listed(self) -> list[Fault]:
        """Faults that can still happen."""
        now_s = self._clock()
        dead = [f.id for f in self._set.values() if f.left == 0 or (f.until_s is not None and now_s >= f.until_s)]
        for number in dead:
            del self._set[number]
        return list(self._set.values())

    def take(self, kind: str, where: Where) -> Fault | None:
        """Take the first fault of this kind that matches; it counts as happened."""
        now_s = self._clock()
        for fault in self._set.values():
            if fault.fits(kind, where, now_s):
                if fault.left is not None:
                    fault.left -= 1
                return fault
        return None

    def data(self, where: Where, text: str) -> list[Frame]:
        """The frames that a subscriber receives instead of this one."""
        if self.take("mute", where) or (_is_delta(where, text) and self.take("lose_update", where)):
            return []
        frames = [Frame(text.encode())]
        if fault := self.take("garbage", where):
            frames = _with_garbage(fault.details, where.topic, text)
        if self.take("duplicate", where):
            frames *= 2
        if fault := self.take("slow", where):
            pieces, pause_s = fault.details["pieces"], fault.details["pause_s"]
            frames = [Frame(f.payload, f.opcode, "slow", pieces, pause_s) for f in frames]
        if self.take("stall", where):
            frames = [Frame(frames[0].payload, pace="half")]
        return self._in_order(where, frames)

    def _in_order(self, where: Where, frames: list[Frame]) -> list[Frame]:
        """Release delayed frames after the following ones."""
        if held := self._held_back.pop(where.connection, None):
            return frames + held
        if frames and self.take("reorder", where):
            self._held_back[where.connection] = frames
            return []
        return frames

    def forget(self, connection: str) -> None:
        self._held_back.pop(connection, None)


def _is_delta(where: Where, text: str) -> bool:
    return where.topic.startswith("orderbook.") and '"type":"delta"' in text[:200]


def _with_garbage(details: Mapping[str, Any], topic: str, text: str) -> list[Frame]:
    form = details["form"]
    spoilt = garbage(form, topic, text, details["bytes"])
    return [spoilt] if form in REPLACING or details["instead"] else [spoilt, Frame(text.encode())]


def garbage(form: str, topic: str, text: str, size: int = HUGE_BYTES) -> Frame:
    """An invalid frame, similar to one of this topic where the form allows it."""
    match form:
        case "binary":
            return Frame(bytes(range(256)), BINARY)
        case "invalid_utf8":
            return Frame(text.encode()[:-1] + b',"x":"\xff\xfe\xc3\x28"}')
        case _:
            return Frame(_spoilt(form, topic, text, size).encode())


def _spoilt(form: str, topic: str, text: str, size: int) -> str:
    match form:
        case "not_json":
            return "<html>upstream request timeout</html>"
        case "truncated":
            return text[: len(text) // 2]
        case "empty":
            return ""
        case "array":
            return f"[{text}]"
        case "huge":
            return f'{{"topic":"{topic}","padding":"{"x" * size}"}}'
        case "deep":
            return f'{{"topic":"{topic}","data":{"[" * DEEP_LEVELS}{"]" * DEEP_LEVELS}}}'
        case "nan":
            return _TIME.sub(r'"\1":NaN,"x":Infinity,', text, count=1)
        case "unknown_topic":
            return text.replace(f'"topic":"{topic}"', '"topic":"nobody.ever.asked"', 1)
        case "missing_ts":
            return _TIME.sub("", text, count=1).replace(",}", "}")
        case "unknown_fields":
            return '{"newField":{"since":"2027","list":[1,2]},' + text[1:]
        case _:
            raise ValueError(form)


def shown(faults: Iterable[Fault], now_s: float) -> list[dict[str, Any]]:
    """Faults as the control interface lists them."""
    return [
        {
            "id": fault.id,
            "kind": fault.kind,
            **fault.only,
            "count": fault.left,
            "seconds": None if fault.until_s is None else round(fault.until_s - now_s, 3),
            **fault.details,
        }
        for fault in faults
    ]
