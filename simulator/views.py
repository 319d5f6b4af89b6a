"""Topics of a market: the first frame for a new subscriber, and those that follow."""

from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

from simulator import forms
from simulator.books import Window
from simulator.candles import Candle, Trade, candle_start
from simulator.quotes import Quote
from simulator.samples import sample

LEVEL_1_REPEATS_MS = 3000
KLINE_MS = 1000
TICKER_MS = 200
PRICE_LIMIT_MS = 300
POOL_MS = 1000
EVENT_MS = 1000
LIQUIDATION_MS = (2000, 8000)
QUOTED_IN_PAIRS = (("bid1Price", "bid1Size"), ("ask1Price", "ask1Size"))


class View(Protocol):
    def opening(self, now_ms: int, /) -> list[str]: ...

    def passed(self, now_ms: int, traded: Sequence[Trade], /) -> list[str]: ...


class Silence:
    def opening(self, _now_ms: int) -> list[str]:
        return []

    def passed(self, _now_ms: int, _traded: Sequence[Trade]) -> list[str]:
        return []


class Levels:
    """An order book of some depth; depth 1 has snapshots only."""

    def __init__(self, quote: Quote, depth: int, u: int) -> None:
        self._quote = quote
        self._depth = depth
        self._window = Window(quote.book, depth)
        self.u = u
        self._sent_ms = 0

    def opening(self, now_ms: int) -> list[str]:
        self._sent_ms = now_ms
        return [self._frame("snapshot", now_ms)]

    def restart(self, now_ms: int) -> list[str]:
        self.u = 1
        return self.opening(now_ms)

    def passed(self, now_ms: int, _traded: Sequence[Trade]) -> list[str]:
        change = self._window.moved()
        if change:
            self.u += 1
            self._sent_ms = now_ms
        elif self._depth > 1 or now_ms - self._sent_ms < LEVEL_1_REPEATS_MS:
            return []
        self._sent_ms = now_ms
        if self._depth == 1:
            return [self._frame("snapshot", now_ms)]
        quote, symbol = self._quote, self._quote.instrument.symbol
        category, at_ms = quote.instrument.category, quote.at_ms
        return [forms.book(category, self._depth, symbol, "delta", change, self.u, quote.seq, now_ms, at_ms)]

    def _frame(self, kind: str, now_ms: int) -> str:
        quote, levels = self._quote, self._window.shown
        category, symbol = quote.instrument.category, quote.instrument.symbol
        return forms.book(category, self._depth, symbol, kind, levels, self.u, quote.seq, now_ms, quote.at_ms)


class Ticker:
    """Derivatives push changes, the other categories everything each time."""

    def __init__(self, quote: Quote) -> None:
        self._quote = quote
        self._shown = dict(quote.ticker)
        self._due_ms = 0

    def opening(self, now_ms: int) -> list[str]:
        return [self._frame("snapshot", self._shown, now_ms)]

    def passed(self, now_ms: int, _traded: Sequence[Trade]) -> list[str]:
        if now_ms < self._due_ms or self._quote.ticker == self._shown:
            return []
        before, self._shown = self._shown, dict(self._quote.ticker)
        self._due_ms = now_ms + TICKER_MS
        if self._quote.instrument.category not in ("linear", "inverse"):
            return [self._frame("snapshot", self._shown, now_ms)]
        return [self._frame("delta", _changed(before, self._shown), now_ms)]

    def _frame(self, kind: str, data: dict[str, str], now_ms: int) -> str:
        return forms.ticker(self._quote.instrument.category, kind, data, self._quote.seq, now_ms)


def _changed(before: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    names = {name for name in now if now[name] != before.get(name)} | {"symbol"}
    for pair in QUOTED_IN_PAIRS:
        if names.intersection(pair):
            names.update(pair)
    return {name: value for name, value in now.items() if name in names}


class Trades:
    """Matches as they happen; of several symbols where the topic names a base coin."""

    def __init__(self, category: str, topic: str, index: str = "") -> None:
        self._category = category
        self._topic = topic
        self._index = index

    def opening(self, _now_ms: int) -> list[str]:
        return []

    def passed(self, now_ms: int, traded: Sequence[Trade]) -> list[str]:
        by_match: dict[tuple[int, str], list[dict[str, Any]]] = {}
        for trade in traded:
            row = forms.trade_row(self._category, trade, self._index)
            by_match.setdefault((trade.seq, trade.symbol), []).append(row)
        return [forms.trades(self._category, self._topic, rows, seq, now_ms) for (seq, _), rows in by_match.items()]


class Kline:
    def __init__(self, quote: Quote, interval: str, now_ms: int) -> None:
        self._quote = quote
        self._interval = interval
        self._topic = f"kline.{interval}.{quote.instrument.symbol}"
        start_ms = candle_start(interval, now_ms)
        self._candle = quote.candle(interval, start_ms, now_ms)
        quote.open_candles[interval] = self._candle
        self._changed = False
        self._due_ms = now_ms + KLINE_MS

    def opening(self, now_ms: int) -> list[str]:
        return self._frames([self._candle.entry(False, now_ms)], now_ms)

    def passed(self, now_ms: int, traded: Sequence[Trade]) -> list[str]:
        frames = []
        while now_ms > self._candle.end_ms:
            self._add([trade for trade in traded if trade.at_ms <= self._candle.end_ms])
            frames += self._roll_over(now_ms)
            traded = [trade for trade in traded if trade.at_ms >= self._candle.start_ms]
        self._add(traded)
        if self._changed and now_ms >= self._due_ms:
            self._changed = False
            self._due_ms = now_ms + KLINE_MS
            frames += self._frames([self._candle.entry(False, now_ms)], now_ms)
        return frames

    def _add(self, traded: Sequence[Trade]) -> None:
        for trade in traded:
            self._candle.add(trade)
            self._changed = True

    def _roll_over(self, now_ms: int) -> list[str]:
        old = self._candle
        self._candle = Candle.opened(self._interval, old.end_ms + 1, old.close)
        self._quote.closed(old)
        self._quote.open_candles[self._interval] = self._candle
        return self._frames([old.entry(True, now_ms), self._candle.entry(False, now_ms)], now_ms)

    def _frames(self, entries: list[dict[str, Any]], now_ms: int) -> list[str]:
        return forms.kline(self._quote.instrument.category, self._topic, entries, now_ms)


class Liquidations:
    def __init__(self, quote: Quote, random: Random, now_ms: int) -> None:
        self._quote = quote
        self._random = random
        self._due_ms = now_ms + random.randint(*LIQUIDATION_MS)

    def opening(self, _now_ms: int) -> list[str]:
        return []

    def passed(self, now_ms: int, _traded: Sequence[Trade]) -> list[str]:
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + self._random.randint(*LIQUIDATION_MS)
        rows = [self._row(now_ms) for _ in range(self._random.choice((1, 1, 2)))]
        return [forms.liquidation(self._quote.instrument.symbol, rows, now_ms)]

    def _row(self, now_ms: int) -> dict[str, Any]:
        instrument = self._quote.instrument
        away = instrument.tick * self._random.randint(1, 50)
        return {
            "T": now_ms - self._random.randint(300, 500),
            "s": instrument.symbol,
            "S": self._random.choice(("Buy", "Sell")),
            "v": f"{self._random.randint(1, 500) * instrument.step:f}",
            "p": f"{max(self._quote.last - away, instrument.tick):f}",
        }


class PriceLimit:
    def __init__(self, quote: Quote) -> None:
        self._quote = quote
        self._due_ms = 0

    def opening(self, _now_ms: int) -> list[str]:
        return []

    def passed(self, now_ms: int, _traded: Sequence[Trade]) -> list[str]:
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + PRICE_LIMIT_MS
        tick, ticks = self._quote.instrument.tick, int(self._quote.last / self._quote.instrument.tick)
        highest, lowest = (ticks * 105 // 100 + 1) * tick, max(ticks * 95 // 100, 1) * tick
        return [forms.price_limit(self._quote.instrument.symbol, f"{highest:f}", f"{lowest:f}", now_ms)]


class Pool:
    """An insurance pool or the deleveraging alerts of one coin."""

    def __init__(self, kind: str, coin: str, random: Random) -> None:
        self._kind = kind
        self._topic = f"{kind}.{coin}"
        self._random = random
        self._rows: list[dict[str, Any]] = sample(kind)["data"]
        self._due_ms = 0
        for row in self._rows:
            row["coin" if kind == "insurance" else "c"] = coin

    def opening(self, now_ms: int) -> list[str]:
        self._due_ms = now_ms + POOL_MS
        return [self._frame("snapshot", self._rows, now_ms)]

    def passed(self, now_ms: int, _traded: Sequence[Trade]) -> list[str]:
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + POOL_MS
        row = self._random.choice(self._rows)
        if self._kind == "insurance":
            row["balance"] = f"{float(row['balance']) + self._random.uniform(-50, 50):.8f}"
            return [self._frame("delta", [row], now_ms)]
        row["b"] = round(row["b"] + self._random.uniform(-50, 50), 8)
        return [self._frame("snapshot", self._rows, now_ms)]

    def _frame(self, kind: str, rows: list[dict[str, Any]], now_ms: int) -> str:
        stamped = [row | {"updateTime": str(now_ms)} for row in rows] if self._kind == "insurance" else rows
        return forms.pool(self._topic, kind, stamped, now_ms)


class EventTicker:
    """The odds of one event contract. The form is a choice: no source describes it."""

    def __init__(self, topic: str, coin: str, random: Random) -> None:
        self._topic = topic
        self._symbol = f"{coin}USDT-5MIN-UP"
        self._random = random
        self._due_ms = 0

    def opening(self, _now_ms: int) -> list[str]:
        return []

    def passed(self, now_ms: int, _traded: Sequence[Trade]) -> list[str]:
        if now_ms < self._due_ms:
            return []
        self._due_ms = now_ms + EVENT_MS
        probability = self._random.uniform(0.2, 0.8)
        return [forms.event_ticker(self._topic, self._symbol, f"{probability:.4f}", f"{1 / probability:.4f}", now_ms)]


class Status:
    """The last maintenance, once; nothing else happens here."""

    def opening(self, now_ms: int) -> list[str]:
        return [forms.system_status(sample("system.status")["data"], now_ms)]

    def passed(self, _now_ms: int, _traded: Sequence[Trade]) -> list[str]:
        return []
