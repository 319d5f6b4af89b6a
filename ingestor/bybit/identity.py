"""What Bybit's socket and its REST answers have in common: by which key an element of either is known."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import orjson

from common.errors import MALFORMED

T = TypeVar("T")

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
_LONGEST_MONTH_MS = 31 * DAY_MS
LATEST_MS = 253_402_300_799_999  # the last millisecond of year 9999


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a REST list: its natural key, the exchange's time of it, and what Bybit said."""

    key: str
    time_ms: int
    data: bytes


def elements(channel_type: str, rows: Iterable[Any]) -> list[Element]:
    """The rows of a REST list, the oldest first; raises one of MALFORMED for what is none."""
    key_of, time_of = _REST[channel_type]
    found = [Element(key_of(row), _moment(time_of(row)), orjson.dumps(row)) for row in rows]
    found.reverse()  # Bybit's lists are newest first, also among equal times
    return sorted(found, key=lambda element: element.time_ms)


def identities(channel_type: str, frames: Iterable[bytes]) -> set[str]:
    """The identities of all elements in these frames of the socket; what makes no sense has none."""
    return set(_read(_LIVE[channel_type], channel_type, frames))


def trade_times(frames: Iterable[bytes]) -> list[int]:
    """When the trades in these frames happened."""
    return list(_read(lambda row: int(row["T"]), "trades", frames))


def closed_candles(rows: Iterable[list[str]], interval: str, from_ms: int, to_ms: int) -> list[list[str]]:
    """The candles that ended between these moments, the second not being later than now."""
    found, newer_ms = [], None
    for row in sorted(rows, key=lambda row: int(row[0]), reverse=True):
        start_ms = int(row[0])
        end_ms = newer_ms if newer_ms is not None else start_ms + interval_ms(interval)
        newer_ms = start_ms
        if from_ms <= end_ms <= to_ms:
            found.append(row)
    return found


def interval_ms(interval: str) -> int:
    """How long a candle lasts, at most."""
    if interval.isdigit():
        return int(interval) * MINUTE_MS
    return {"D": DAY_MS, "W": 7 * DAY_MS, "M": _LONGEST_MONTH_MS}[interval]


def _read(made_of: Callable[[Mapping[str, Any]], T], channel_type: str, frames: Iterable[bytes]) -> Iterator[T]:
    """Of each row in these frames; a row or frame of another shape is passed over."""
    for frame in frames:
        for row in _listed(channel_type, frame):
            with suppress(*MALFORMED):
                yield made_of(row)


def _listed(channel_type: str, frame: bytes) -> list[Any]:
    try:
        rows = orjson.loads(frame)["data"]
        return [row for row in rows if channel_type != "kline" or row.get("confirm") is True]
    except MALFORMED:
        return []


def _moment(time_ms: int) -> int:
    if not 0 <= time_ms <= LATEST_MS:
        raise ValueError(f"no time: {time_ms}")
    return time_ms


def _order_key(row: Mapping[str, Any]) -> str:
    cancelled = "" if row["cancelType"] == "UNKNOWN" else row["cancelType"]
    parts = (row["orderId"], row["updatedTime"], row["orderStatus"], _plain(row["cumExecQty"]), cancelled)
    return " ".join(map(str, parts))


def _plain(number: Any) -> str:
    """The socket and REST need not write the same number alike."""
    try:
        return str(Decimal(number or "0").normalize())
    except MALFORMED:
        return str(number)


_LIVE: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "execution": lambda row: str(row["execId"]),
    "order": _order_key,
    "trades": lambda row: str(row["i"]),
    "kline": lambda row: str(row["start"]),
}
_REST: dict[str, tuple[Callable[[Any], str], Callable[[Any], int]]] = {
    "execution": (lambda row: str(row["execId"]), lambda row: int(row["execTime"])),
    "order": (_order_key, lambda row: int(row["updatedTime"])),
    "trades": (lambda row: str(row["execId"]), lambda row: int(row["time"])),
    "kline": (lambda row: str(row[0]), lambda row: int(row[0])),
}
HEALED = tuple(_REST)
"""Channel types whose past REST still knows."""
HELD_BACK = ("execution", "order")
"""Those whose live events wait until the past is told."""


def push_key(channel_type: str, frame: bytes) -> Hashable:
    """By which the same push is known on two connections: `ts` may differ between them, and the bytes with it."""
    doc = orjson.loads(frame)
    data = doc.get("data")
    for key_of in (_PUSHES.get(channel_type, _told), _told):
        with suppress(*MALFORMED):
            key = key_of(doc, data)
            hash(key)
            return key
    return frame


def _told(doc: Mapping[str, Any], data: Any) -> Hashable:
    """All of a push but what a connection adds: of a class without a rule, and of a push of an unknown shape."""
    return orjson.dumps((doc.get("ts"), data))


_PUSHES: dict[str, Callable[[Mapping[str, Any], Any], Hashable]] = {
    "trades": lambda _, data: tuple(row["i"] for row in data),
    "orderbook": lambda _, data: (data["u"], data["seq"]),
    "ticker": lambda doc, data: (doc["cs"], doc["type"], orjson.dumps(data)),
    "kline": lambda _, data: tuple((row["start"], row["timestamp"], row["confirm"]) for row in data),
    "liquidation": lambda _, data: orjson.dumps(data),
    "order": lambda _, data: tuple(_order_key(row) for row in data),
    "execution": lambda _, data: tuple(row["execId"] for row in data),
    "execution_fast": lambda _, data: tuple(row["execId"] for row in data),
    "position": lambda _, data: tuple(
        (row["symbol"], row["positionIdx"], row["seq"], row["updatedTime"], orjson.dumps(row)) for row in data
    ),
    "balance": lambda doc, data: (doc["id"], orjson.dumps(data)),
    "greeks": lambda doc, data: (doc["id"], orjson.dumps(data)),
}
