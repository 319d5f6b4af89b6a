"""Symbols whose market comes from the tape."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from simulator import forms
from simulator.books import Book, Change
from simulator.candles import Candle, Trade
from simulator.instruments import Catalogue
from simulator.quotes import Quote
from simulator.samples import compact
from simulator.tape import Cue, Shift, symbol_of, trades_in
from simulator.topics import Topic, parsed


class Played:
    """Follows one topic of the tape, so that a new subscriber can receive its current state."""

    def __init__(self, topic: Topic, quote: Quote, leads: bool) -> None:
        self.topic = topic
        self.quote = quote
        self._leads = leads
        self._book = quote.book if leads else Book()
        self.u = self._seq = self._ts = self._cts = 0
        self._ticker: dict[str, Any] = {}
        self._last_candle = ""
        self._restart = Shift()

    def frame(self, cue: Cue) -> str:
        """The frame to send: after a restart of the book its update ids count from 1."""
        return self._restart.apply(cue.text) if self._restart.u else cue.text

    def restart(self) -> list[str]:
        """The snapshot that the exchange sends after a restart of its service."""
        self._restart = Shift(u=1 - self.u + self._restart.u)
        self.u = 1
        return self.opening()

    def follow(self, cue: Cue) -> list[Trade]:
        """Apply a frame of the tape."""
        match self.topic.kind:
            case "orderbook":
                self._follow_book(json.loads(cue.text))
            case "tickers":
                self._follow_ticker(json.loads(cue.text))
            case "kline":
                self._follow_candle(json.loads(cue.text))
            case "publicTrade":
                return self._follow_trades(cue.text)
        return []

    def opening(self) -> list[str]:
        """The snapshot for a new subscriber: the state after the latest frame."""
        instrument = self.quote.instrument
        match self.topic.kind:
            case "orderbook":
                depth = int(self.topic.detail)
                levels = Change(self._book.bids.best(depth), self._book.asks.best(depth))
                numbers = (self.u, self._seq, self._ts, self._cts)
                return [forms.book(instrument.category, depth, instrument.symbol, "snapshot", levels, *numbers)]
            case "tickers":
                return [forms.ticker(instrument.category, "snapshot", self._ticker, self._seq, self._ts)]
            case "kline":
                return [self._last_candle]
        return []

    def _follow_book(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        replace = frame["type"] == "snapshot"
        (self._book.replace if replace else self._book.apply)(data["b"], data["a"])
        self.u, self._seq = data["u"] + self._restart.u, data["seq"]
        self._ts, self._cts = frame["ts"], frame["cts"]
        if self._leads:
            self.quote.seq, self.quote.at_ms = self._seq, self._cts

    def _follow_ticker(self, frame: dict[str, Any]) -> None:
        self._ticker = frame["data"] if frame["type"] == "snapshot" else self._ticker | frame["data"]
        self._seq, self._ts = frame.get("cs", 0), frame["ts"]
        self.quote.ticker = self._ticker

    def _follow_candle(self, frame: dict[str, Any]) -> None:
        for entry in frame["data"]:
            if entry["confirm"]:
                self.quote.closed(Candle.from_entry(entry))
        frame["data"] = frame["data"][-1:]
        self._last_candle = compact(frame)
        self.quote.open_candles[self.topic.detail] = Candle.from_entry(frame["data"][0])

    def _follow_trades(self, text: str) -> list[Trade]:
        traded = trades_in(text)
        for trade in traded:
            self.quote.traded(trade)
        return traded


def followers(category: str, names: Collection[str], catalogue: Catalogue) -> dict[str, Played]:
    """One for each topic of the tape; those of a symbol share its quote."""
    topics = {name: parsed(category, name) or Topic("other", symbol_of(name)) for name in names}
    quotes = {topic.symbol: _quote(category, topic.symbol, catalogue) for topic in topics.values()}
    deepest = {
        symbol: max((int(t.detail) for t in topics.values() if (t.kind, t.symbol) == ("orderbook", symbol)), default=0)
        for symbol in quotes
    }
    return {
        name: Played(topic, quotes[topic.symbol], leads=topic.detail == str(deepest[topic.symbol]))
        for name, topic in topics.items()
    }


def taped_whole(played: Mapping[str, Played]) -> dict[str, Quote]:
    """Symbols whose recorded topics are enough to derive other topics."""
    kinds: dict[str, set[str]] = {}
    for each in played.values():
        kinds.setdefault(each.topic.symbol, set()).add(each.topic.kind)
    whole = {symbol for symbol, seen in kinds.items() if seen >= {"orderbook", "tickers", "publicTrade"}}
    return {each.topic.symbol: each.quote for each in played.values() if each.topic.symbol in whole}


def _quote(category: str, symbol: str, catalogue: Catalogue) -> Quote:
    """The quote of the listed instrument, or of a similar one for a symbol that only the tape contains."""
    instrument = catalogue.find(category, symbol) or replace(catalogue.of(category)[0], symbol=symbol)
    return Quote(instrument, Book(), instrument.price, 0, 0)
