"""What identifies a push, and an element of one in Bybit's REST lists."""

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
    """One element of a REST list: its identity, the exchange's time of it, and the element as JSON."""

    key: str
    time_ms: int
    data: bytes


def elements(channel_type: str, rows: Iterable[Any]) -> list[Element]:
    """The rows of a REST list as it came, newest first, as elements, oldest first.

    `channel_type` is one of BACKFILLED. Raises one of MALFORMED for a row of another shape.
    """
    key_of, time_of = _REST[channel_type]
    found = [Element(key_of(row), _valid_ms(time_of(row)), orjson.dumps(row)) for row in rows]
    found.reverse()  # Bybit's lists are newest first, also among equal times
    return sorted(found, key=lambda element: element.time_ms)


def identities(channel_type: str, frames: Iterable[bytes]) -> set[str]:
    """The keys of all elements in these pushes, as of the same elements in REST; a row of another shape has none."""
    return set(_read(_LIVE[channel_type], channel_type, frames))


def trade_times(frames: Iterable[bytes]) -> list[int]:
    """When the trades in these pushes happened, in ms."""
    return list(_read(lambda row: int(row["T"]), "trades", frames))


def closed_candles(rows: Iterable[list[str]], interval: str, from_ms: int, to_ms: int) -> list[list[str]]:
    """The rows of market/kline that ended from `from_ms` to `to_ms`, newest first; `to_ms` is not in the future.

    A candle ends where the next one starts, because the lengths of months differ.
    """
    found, newer_ms = [], None
    for row in sorted(rows, key=lambda row: int(row[0]), reverse=True):
        start_ms = int(row[0])
        end_ms = newer_ms if newer_ms is not None else start_ms + interval_ms(interval)
        newer_ms = start_ms
        if from_ms <= end_ms <= to_ms:
            found.append(row)
    return found


def interval_ms(interval: str) -> int:
    """How long a candle lasts, at most; `interval` as in market/kline."""
    if interval.isdigit():
        return int(interval) * MINUTE_MS
    return {"D": DAY_MS, "W": 7 * DAY_MS, "M": _LONGEST_MONTH_MS}[interval]


def _read(value_of: Callable[[Mapping[str, Any]], T], channel_type: str, frames: Iterable[bytes]) -> Iterator[T]:
    """The value of each row in these frames; a row or frame of another shape is skipped."""
    for frame in frames:
        for row in _rows(channel_type, frame):
            with suppress(*MALFORMED):
                yield value_of(row)


def _rows(channel_type: str, frame: bytes) -> list[Any]:
    try:
        rows = orjson.loads(frame)["data"]
        return [row for row in rows if channel_type != "kline" or row.get("confirm") is True]
    except MALFORMED:
        return []


def _valid_ms(time_ms: int) -> int:
    if not 0 <= time_ms <= LATEST_MS:
        raise ValueError(f"must be a time in ms: {time_ms}")
    return time_ms


def _order_key(row: Mapping[str, Any]) -> str:
    """An order in one of its states (websocket/private/order, order/open-order)."""
    cancelled = "" if row["cancelType"] == "UNKNOWN" else row["cancelType"]  # REST leaves it empty
    parts = (row["orderId"], row["updatedTime"], row["orderStatus"], _plain(row["cumExecQty"]), cancelled)
    return " ".join(map(str, parts))


def _plain(number: Any) -> str:
    """WebSocket and REST may write the same number differently."""
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
BACKFILLED = tuple(_REST)
"""Channel types whose history REST serves."""
HELD_BACK = ("execution", "order")
"""Those whose live events wait for their backfill."""


def push_key(channel_type: str, frame: bytes) -> Hashable:
    """What is equal for the same push on two connections, whose `ts` and bytes may differ.

    `frame` is a push, as in Deliver.
    """
    doc = orjson.loads(frame)
    data = doc.get("data")
    for key_of in (_PUSHES.get(channel_type, _content), _content):
        with suppress(*MALFORMED):
            key = key_of(doc, data)
            hash(key)
            return key
    return frame


def _content(doc: Mapping[str, Any], data: Any) -> Hashable:
    """All of a push but what the connection adds: for a channel type without a rule, or a push of another shape."""
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
