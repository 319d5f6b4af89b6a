"""Order books, and the windows of limited depth that topics show."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

Level = tuple[str, str]


class Side:
    """One side of a book, by price; price and size keep their text."""

    def __init__(self, best_is_highest: bool) -> None:
        self._best_is_highest = best_is_highest
        self._levels: dict[float, Level] = {}
        self._prices: list[float] = []

    def __len__(self) -> int:
        return len(self._prices)

    def put(self, price: str, size: str) -> None:
        key = float(price)
        if float(size) == 0:
            self._remove(key)
            return
        if key not in self._levels:
            insort(self._prices, key)
        self._levels[key] = (price, size)

    def _remove(self, key: float) -> None:
        if self._levels.pop(key, None) is not None:
            del self._prices[bisect_left(self._prices, key)]

    def clear(self) -> None:
        self._levels.clear()
        self._prices.clear()

    def worst(self) -> str:
        return self._levels[self._prices[0 if self._best_is_highest else -1]][0]

    def best(self, depth: int) -> list[Level]:
        prices = reversed(self._prices) if self._best_is_highest else iter(self._prices)
        return [self._levels[price] for price in islice(prices, depth)]


@dataclass(slots=True)
class Book:
    bids: Side = field(default_factory=lambda: Side(best_is_highest=True))
    asks: Side = field(default_factory=lambda: Side(best_is_highest=False))

    def replace(self, bids: Iterable[Iterable[str]], asks: Iterable[Iterable[str]]) -> None:
        self.bids.clear()
        self.asks.clear()
        self.apply(bids, asks)

    def apply(self, bids: Iterable[Iterable[str]], asks: Iterable[Iterable[str]]) -> None:
        for price, size, *_ in bids:
            self.bids.put(price, size)
        for price, size, *_ in asks:
            self.asks.put(price, size)


@dataclass(frozen=True, slots=True)
class Change:
    bids: list[Level]
    asks: list[Level]

    def __bool__(self) -> bool:
        return bool(self.bids or self.asks)


class Window:
    """The best levels of a book; it remembers what it has shown and returns the changes."""

    def __init__(self, book: Book, depth: int) -> None:
        self._book = book
        self._depth = depth
        self.shown = self.levels()

    def levels(self) -> Change:
        return Change(self._book.bids.best(self._depth), self._book.asks.best(self._depth))

    def moved(self) -> Change:
        """What changed since the last call; a level that left has size 0."""
        before, self.shown = self.shown, self.levels()
        bids = _changed(before.bids, self.shown.bids)
        asks = _changed(before.asks, self.shown.asks)
        return Change(sorted(bids, key=lambda level: -float(level[0])), sorted(asks, key=lambda level: float(level[0])))


def _changed(before: list[Level], now: list[Level]) -> Iterator[Level]:
    if before == now:
        return
    old, new = dict(before), dict(now)
    yield from ((price, size) for price, size in now if old.get(price) != size)
    yield from ((price, "0") for price in old if price not in new)
