"""A random market of one symbol: a random walk of the price, with a book and trades around it."""

from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any
from uuid import NAMESPACE_OID, uuid5
from zlib import crc32

from simulator.books import Book, Side
from simulator.candles import Trade
from simulator.forms import trimmed
from simulator.instruments import Instrument
from simulator.quotes import Quote
from simulator.samples import sample

COUNT_FROM_MS = 1_735_689_600_000  # 2025-01-01: numbers start from the clock, so they rise over restarts
STEP_MS = 200
TRADE_CHANCE = 0.2
LEVELS = {"option": 12, "spread": 12}
USUAL_LEVELS = 60
MOST_STEPS = 50
TRIMMED = ("spot", "option", "spread")
WANDERS_PERMILLE = 10
FUNDING_MS = 8 * 3_600_000


class RandomMarket:
    def __init__(self, instrument: Instrument, seed: int, now_ms: int) -> None:
        self._random = Random(crc32(f"{seed}/{instrument.category}/{instrument.symbol}/{now_ms}".encode()))
        self._instrument = instrument
        self._levels = LEVELS.get(instrument.category, USUAL_LEVELS)
        self._bid = self._middle = max(int(instrument.price / instrument.tick), 2)
        self._next_ms = now_ms + STEP_MS
        since_ms = now_ms - COUNT_FROM_MS
        self.quote = Quote(instrument, Book(), instrument.price, since_ms * 100, now_ms, since_ms // 100)
        self._fill_up()
        self.quote.ticker = _ticker(instrument, now_ms)
        self._quote_best()

    def deepen(self, depth: int) -> None:
        """Keep at least this number of levels, placed as at the exchange."""
        if self._instrument.category not in LEVELS and depth > self._levels:
            self._levels = depth + 20
            self._fill_up()

    def passed(self, now_ms: int, most_steps: int = MOST_STEPS) -> list[Trade]:
        """Advance to this moment; after a long pause only the state moves."""
        traded: list[Trade] = []
        self._next_ms = max(self._next_ms, now_ms - (most_steps - 1) * STEP_MS)
        while self._next_ms <= now_ms:
            traded += self._step(self._next_ms)
            self._next_ms += STEP_MS
        return traded

    def _step(self, at_ms: int) -> list[Trade]:
        quote = self.quote
        quote.at_ms = at_ms
        quote.seq += self._random.randint(1, 50)
        self._change_book()
        traded = list(self._trades(at_ms)) if self._random.random() < TRADE_CHANCE else []
        for trade in traded:
            self._record(trade)
        self._quote_best()
        if self._random.random() < 0.3:
            self._quote_mark()
        return traded

    def _change_book(self) -> None:
        luck = self._random.random()
        if luck < 0.15:
            self._move()
        elif luck < 0.4:
            self._toggle()
        self._touch()
        self._fill_up()

    def _move(self) -> None:
        """The best price moves by one tick, rather back to the middle than away."""
        furthest = max(self._middle * WANDERS_PERMILLE // 1000, 1)
        pull = (self._bid - self._middle) / furthest
        up = self._random.random() > (1 + pull) / 2 or self._bid <= 2
        if up:
            self.quote.book.asks.put(self._price(self._bid + 1), "0")
            self._bid += 1
            self.quote.book.bids.put(self._price(self._bid), self._size())
        else:
            self.quote.book.bids.put(self._price(self._bid), "0")
            self._bid -= 1
            self.quote.book.asks.put(self._price(self._bid + 1), self._size())

    def _toggle(self) -> None:
        away = self._random.randint(3, 30)
        side, ticks = self._side(away)
        if ticks < 1:
            return
        there = any(float(level[0]) == float(self._price(ticks)) for level in side.best(40))
        side.put(self._price(ticks), "0" if there else self._size())

    def _touch(self) -> None:
        side, _ = self._side(0)
        levels = side.best(8)
        side.put(self._random.choice(levels)[0], self._size())

    def _side(self, away: int) -> tuple[Side, int]:
        if self._random.random() < 0.5:
            return self.quote.book.bids, self._bid - away
        return self.quote.book.asks, self._bid + 1 + away

    def _fill_up(self) -> None:
        """Add levels at the far end until the book is as deep as it should be, and make sure of the best."""
        book = self.quote.book
        for side, best, direction in ((book.bids, self._bid, -1), (book.asks, self._bid + 1, 1)):
            if not side.best(1) or float(side.best(1)[0][0]) != float(self._price(best)):
                side.put(self._price(best), self._size())
            ticks = round(Decimal(side.worst()) / self._instrument.tick)
            while len(side) < self._levels and ticks + direction > 0:
                ticks += direction
                side.put(self._price(ticks), self._size())
            while len(side) > self._levels + 20:
                side.put(side.worst(), "0")

    def _trades(self, at_ms: int) -> Iterator[Trade]:
        buys = self._random.random() < 0.5
        price = self._price(self._bid + 1 if buys else self._bid)
        direction = _direction(self.quote.direction, self.quote.last, Decimal(price))
        for number in range(self._random.choice((1, 1, 1, 2, 3))):
            yield Trade(
                at_ms=at_ms - 1,
                symbol=self._instrument.symbol,
                side="Buy" if buys else "Sell",
                size=self._size(),
                price=price,
                id=self._trade_id(at_ms, number),
                seq=self.quote.seq,
                direction=direction,
            )
            direction = _direction(direction, Decimal(price), Decimal(price))

    def _trade_id(self, at_ms: int, number: int) -> str:
        if self._instrument.category == "spot":
            return str(2_290_000_000_000_000_000 + (at_ms - COUNT_FROM_MS) // STEP_MS * 10 + number)
        name = f"{self._instrument.category}/{self._instrument.symbol}/{self.quote.seq}/{at_ms}/{number}"
        return str(uuid5(NAMESPACE_OID, name))

    def _record(self, trade: Trade) -> None:
        quote, price = self.quote, Decimal(trade.price)
        quote.direction = trade.direction
        quote.traded(trade)
        self._set("lastPrice", trade.price)
        self._set("tickDirection", quote.direction)
        self._add("volume24h", Decimal(trade.size))
        self._add("turnover24h", Decimal(trade.size) * price)

    def _quote_best(self) -> None:
        bid, ask = self.quote.book.bids.best(1)[0], self.quote.book.asks.best(1)[0]
        for names, level in ((("bid1Price", "bid1Size"), bid), (("ask1Price", "ask1Size"), ask)):
            for name, value in zip(names, level, strict=True):
                self._set(name, value)
                self._set(name.replace("1", ""), value)

    def _quote_mark(self) -> None:
        away = self._random.randint(-3, 3)
        self._set("markPrice", self._price(max(self._bid + away, 1)))
        self._set("indexPrice", self._price(max(self._bid + 2 * away, 1)))
        self._set("usdIndexPrice", self._price(max(self._bid + 2 * away, 1)))
        self._set("openInterestValue", f"{1_000_000 + self._random.randint(0, 9999) / 100:.2f}")

    def _set(self, name: str, value: str) -> None:
        if name in self.quote.ticker:
            self.quote.ticker[name] = trimmed(value) if self._instrument.category in TRIMMED else value

    def _add(self, name: str, amount: Decimal) -> None:
        if name in self.quote.ticker:
            total = Decimal(self.quote.ticker[name]) + amount
            self.quote.ticker[name] = f"{total:.4f}"

    def _price(self, ticks: int) -> str:
        return f"{ticks * self._instrument.tick:f}"

    def _size(self) -> str:
        return f"{self._random.randint(1, 20_000) * self._instrument.step:f}"


def _direction(before: str, last: Decimal, price: Decimal) -> str:
    if price != last:
        return "PlusTick" if price > last else "MinusTick"
    return before if before.startswith("Zero") else f"Zero{before}"


def _ticker(instrument: Instrument, now_ms: int) -> dict[str, str]:
    """The keys the endpoint's tickers have, with values that fit the price."""
    name = "dated" if instrument.dated else instrument.category
    ticker: dict[str, Any] = sample(f"tickers.{name}")["data"]
    price, tick = instrument.price, instrument.tick
    near = {"lastPrice": 0, "markPrice": 1, "indexPrice": 2, "usdIndexPrice": 2, "prevPrice24h": -20}
    near |= {"highPrice24h": 200, "lowPrice24h": -200, "prevPrice1h": -5}
    fitting = {key: f"{max(price + tick * away, tick):f}" for key, away in near.items()}
    fitting |= {"symbol": instrument.symbol, "price24hPcnt": "0.001624"}
    if "nextFundingTime" in ticker and not instrument.dated:
        fitting["nextFundingTime"] = str(now_ms // FUNDING_MS * FUNDING_MS + FUNDING_MS)
    return ticker | {key: value for key, value in fitting.items() if key in ticker}
