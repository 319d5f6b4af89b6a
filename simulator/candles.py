"""Candles built from trades."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
INTERVALS = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M")


@dataclass(frozen=True, slots=True)
class Trade:
    at_ms: int
    symbol: str
    side: str
    size: str
    price: str
    id: str
    seq: int
    direction: str = ""


@dataclass(slots=True)
class Candle:
    interval: str
    start_ms: int
    open: Decimal
    close: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal
    turnover: Decimal

    @classmethod
    def opened(cls, interval: str, at_ms: int, price: Decimal) -> "Candle":
        start_ms = candle_start(interval, at_ms)
        return cls(interval, start_ms, price, price, price, price, Decimal(0), Decimal(0))

    @classmethod
    def from_entry(cls, entry: dict[str, Any]) -> "Candle":
        numbers = (Decimal(entry[k]) for k in ("open", "close", "high", "low", "volume", "turnover"))
        return cls(entry["interval"], entry["start"], *numbers)

    @property
    def end_ms(self) -> int:
        """The last millisecond that belongs to the candle."""
        return candle_start(self.interval, self.start_ms, after=1) - 1

    def add(self, trade: Trade) -> None:
        price, size = Decimal(trade.price), Decimal(trade.size)
        self.close = price
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.volume += size
        self.turnover += size * price

    def entry(self, confirm: bool, timestamp_ms: int) -> dict[str, Any]:
        return {
            "start": self.start_ms,
            "end": self.end_ms,
            "interval": self.interval,
            "open": plain(self.open),
            "close": plain(self.close),
            "high": plain(self.high),
            "low": plain(self.low),
            "volume": plain(self.volume),
            "turnover": plain(self.turnover),
            "confirm": confirm,
            "timestamp": timestamp_ms,
        }

    def row(self) -> list[str]:
        """The candle as REST lists it."""
        numbers = (self.open, self.high, self.low, self.close, self.volume, self.turnover)
        return [str(self.start_ms), *(plain(number) for number in numbers)]


def candle_start(interval: str, at_ms: int, after: int = 0) -> int:
    """The start of the candle at this moment, or of the one `after` candles later."""
    if interval == "M":
        return _month_start(at_ms, after)
    length_ms = candle_length_ms(interval)
    offset_ms = 4 * DAY_MS if interval == "W" else 0  # weeks start on Monday; the epoch was a Thursday
    return (at_ms - offset_ms) // length_ms * length_ms + offset_ms + after * length_ms


def candle_length_ms(interval: str) -> int:
    """The usual length; a month counts as 30 days."""
    days = {"D": 1, "W": 7, "M": 30}
    return days[interval] * DAY_MS if interval in days else int(interval) * MINUTE_MS


def _month_start(at_ms: int, after: int) -> int:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    months = at.year * 12 + at.month - 1 + after
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)


def with_trades(candle: Candle, trades: Iterable[Trade]) -> Candle:
    for trade in trades:
        candle.add(trade)
    return candle


def plain(number: Decimal) -> str:
    """Text without exponent and without trailing zeros."""
    text = f"{number:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
