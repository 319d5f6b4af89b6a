"""The market of one endpoint, the same for all subscribers."""

from collections import Counter
from collections.abc import Iterator
from random import Random

from simulator.candles import Trade
from simulator.instruments import KNOWN_PRICES, Catalogue
from simulator.played import followers, taped_whole
from simulator.quotes import Quote
from simulator.tape import Tape, symbol_of
from simulator.topics import Topic, acked_but_silent, names_something_listed, parsed
from simulator.views import (
    EventTicker,
    Kline,
    Levels,
    Liquidations,
    Pool,
    PriceLimit,
    Silence,
    Status,
    Ticker,
    Trades,
    View,
)
from simulator.walk import COUNT_FROM_MS, RandomMarket

OPTIONS_TRADED_PER_BASE = 4
STEPS_AT_ONCE = 1_000  # of all symbols together: with very many of them each moves in longer strides
IDLE_WALKS = 50

Frame = tuple[str, str]


class Market:
    def __init__(self, category: str, catalogue: Catalogue, seed: int, tape: Tape | None = None) -> None:
        self.category = category
        self._catalogue = catalogue
        self._seed = seed
        self._tape = tape
        self._random = Random(seed)
        self._played = {} if tape is None else followers(category, tape.topics, catalogue)
        self._taped = taped_whole(self._played)
        self._walks: dict[str, RandomMarket] = {}
        self._views: dict[str, tuple[View, frozenset[str]]] = {}
        self._held: set[str] = set()
        self._needed = Counter[str]()  # how many views show each symbol

    def knows(self, topic: str) -> bool:
        """Whether a subscription is accepted, even if no data follows."""
        if topic in self._played:
            return True
        if acked_but_silent(self.category, topic, self._catalogue):
            return True
        found = parsed(self.category, topic)
        return found is not None and names_something_listed(self.category, found, self._catalogue)

    def open(self, topic: str, now_ms: int) -> list[str]:
        """Add a subscriber to a topic; return the frames that it receives first."""
        self._held.add(topic)
        if topic in self._played:
            return self._played[topic].opening()
        if topic not in self._views:
            self._views[topic] = self._view(topic, now_ms)
            self._needed.update(self._views[topic][1])
        return self._views[topic][0].opening(now_ms)

    def close(self, topic: str) -> None:
        """Stop a topic without subscribers."""
        self._held.discard(topic)
        _, symbols = self._views.pop(topic, (None, frozenset()))
        self._needed -= Counter(symbols)  # without those that reach zero
        self._forget_idle_walks()

    def advance(self, now_ms: int) -> list[Frame]:
        """All frames since the last call on subscribed topics, in order."""
        frames: list[Frame] = []
        traded: dict[str, list[Trade]] = {}
        for topic, text, trades in self._from_tape(now_ms):
            if topic in self._held:
                frames.append((topic, text))
            traded.setdefault(symbol_of(topic), []).extend(trades)
        most = max(1, STEPS_AT_ONCE // max(1, len(self._needed)))
        for symbol in self._needed:
            if symbol in self._walks:
                traded[symbol] = self._walks[symbol].passed(now_ms, most)
        for topic, (view, symbols) in self._views.items():
            seen = [trade for symbol in symbols for trade in traded.get(symbol, ())]
            frames.extend((topic, text) for text in view.passed(now_ms, seen))
        return frames

    def quote(self, symbol: str, now_ms: int) -> Quote | None:
        """The state of a listed symbol, brought up to this moment; None if it is not listed."""
        if symbol in self._taped:
            return self._taped[symbol]
        if self._catalogue.find(self.category, symbol) is None:
            return None
        walk = self._walk(symbol, now_ms)
        if symbol not in self._needed:
            walk.passed(now_ms)
        return walk.quote

    def restart_book(self, topic: str, now_ms: int) -> list[str]:
        """As after a restart of the exchange: a snapshot with u = 1; nothing unless the topic is a subscribed book."""
        if topic not in self._held or not topic.startswith("orderbook."):
            return []
        if topic in self._played:
            return self._played[topic].restart()
        view = self._views[topic][0]
        return view.restart(now_ms) if isinstance(view, Levels) else []

    def update_id(self, symbol: str, depth: int) -> int:
        """The u of the last push of a book of this depth; 1 without one."""
        topic = f"orderbook.{depth}.{symbol}"
        if topic in self._played:
            return self._played[topic].u
        view = self._views.get(topic, (None, frozenset()))[0]
        return view.u if isinstance(view, Levels) else 1

    def _from_tape(self, now_ms: int) -> Iterator[tuple[str, str, list[Trade]]]:
        if self._tape is None:
            return
        for cue in self._tape.due(now_ms):
            played = self._played[cue.topic]
            traded = played.follow(cue)
            yield cue.topic, played.frame(cue), traded

    def _walk(self, symbol: str, now_ms: int) -> RandomMarket:
        if symbol not in self._walks:
            instrument = self._catalogue.find(self.category, symbol)
            assert instrument is not None
            self._forget_idle_walks()
            self._walks[symbol] = RandomMarket(instrument, self._seed, now_ms)
        return self._walks[symbol]

    def _forget_idle_walks(self) -> None:
        idle = [symbol for symbol in self._walks if symbol not in self._needed]
        for symbol in idle[:-IDLE_WALKS]:
            del self._walks[symbol]

    def _view(self, name: str, now_ms: int) -> tuple[View, frozenset[str]]:
        topic = parsed(self.category, name)
        if topic is None:
            return Silence(), frozenset()
        if topic.kind == "status":
            return Status(), frozenset()
        if topic.kind == "event":
            return EventTicker(name, topic.symbol, self._random), frozenset()
        if topic.kind in ("insurance", "adlAlert"):
            return Pool(topic.kind, topic.symbol, self._random), frozenset()
        if (self.category, topic.kind) == ("option", "publicTrade"):
            return self._option_trades(name, topic.symbol, now_ms)
        quote = self.quote(topic.symbol, now_ms)
        assert quote is not None, name
        return self._symbol_view(name, topic, quote, now_ms), frozenset([topic.symbol])

    def _symbol_view(self, name: str, topic: Topic, quote: Quote, now_ms: int) -> View:
        match topic.kind:
            case "orderbook":
                if topic.symbol in self._walks:
                    self._walks[topic.symbol].deepen(int(topic.detail))
                return Levels(quote, int(topic.detail), (now_ms - COUNT_FROM_MS) // 100)
            case "tickers":
                return Ticker(quote)
            case "kline":
                return Kline(quote, topic.detail, now_ms)
            case "allLiquidation":
                return Liquidations(quote, self._random, now_ms)
            case "priceLimit":
                return PriceLimit(quote)
            case _:
                return Trades(self.category, name)

    def _option_trades(self, name: str, base: str, now_ms: int) -> tuple[View, frozenset[str]]:
        series = [i for i in self._catalogue.of("option") if i.base == base]
        symbols = frozenset(i.symbol for i in series[:: max(len(series) // OPTIONS_TRADED_PER_BASE, 1)])
        for symbol in symbols:
            self._walk(symbol, now_ms)
        return Trades("option", name, KNOWN_PRICES[base]), symbols
