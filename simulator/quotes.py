"""The state of one symbol at a moment."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from zlib import crc32

from simulator.books import Book
from simulator.candles import Candle, Trade, candle_start
from simulator.instruments import Instrument

REMEMBERED_TRADES = 1000
REMEMBERED_CANDLES = 1000


@dataclass(slots=True)
class Quote:
    instrument: Instrument
    book: Book
    last: Decimal
    seq: int
    at_ms: int
    u: int = 1
    direction: str = "ZeroPlusTick"
    ticker: dict[str, str] = field(default_factory=dict)
    trades: deque[Trade] = field(default_factory=lambda: deque(maxlen=REMEMBERED_TRADES))
    open_candles: dict[str, Candle] = field(default_factory=dict)
    closed_candles: dict[str, deque[Candle]] = field(default_factory=dict)

    def traded(self, trade: Trade) -> None:
        self.last = Decimal(trade.price)
        self.trades.append(trade)

    def closed(self, candle: Candle) -> None:
        seen = self.closed_candles.setdefault(candle.interval, deque(maxlen=REMEMBERED_CANDLES))
        seen.append(candle)

    def candle(self, interval: str, start_ms: int, now_ms: int) -> Candle:
        """The candle that starts there: as it was pushed, otherwise as it may have been."""
        for candle in self._known(interval):
            if candle.start_ms == start_ms:
                return candle
        if start_ms == candle_start(interval, now_ms):
            return Candle.opened(interval, now_ms, self.last)
        return self._imagined(interval, start_ms)

    def _known(self, interval: str) -> Iterable[Candle]:
        if interval in self.open_candles:
            yield self.open_candles[interval]
        yield from reversed(self.closed_candles.get(interval, ()))

    def _imagined(self, interval: str, start_ms: int) -> Candle:
        """A candle before the first subscription; always the same one."""
        name = f"{self.instrument.category}/{self.instrument.symbol}/{interval}"
        opened, closed = (self._imagined_price(f"{name}/{at}") for at in (start_ms, start_ms + 1))
        tick = self.instrument.tick
        volume = self.instrument.step * (1 + crc32(f"{name}/{start_ms}/v".encode()) % 100_000)
        high, low = max(opened, closed) + tick, max(min(opened, closed) - tick, tick)
        return Candle(interval, start_ms, opened, closed, high, low, volume, volume * closed)

    def _imagined_price(self, name: str) -> Decimal:
        ticks = int(self.instrument.price / self.instrument.tick)
        away = crc32(name.encode()) % 101 - 50
        return max(ticks + ticks * away // 10_000, 1) * self.instrument.tick
