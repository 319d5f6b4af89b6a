"""REST responses, from the same market and account as the WebSocket topics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote

from simulator.account import USER_ID, Account, Coin, Fill, execution_row, position_values, totals
from simulator.candles import DAY_MS, INTERVALS, Candle, candle_length_ms, candle_start
from simulator.forms import trimmed
from simulator.instruments import Catalogue, Instrument
from simulator.market import Market
from simulator.quotes import Quote
from simulator.samples import sample

Row = dict[str, Any]
Query = Mapping[str, str]
Item = TypeVar("Item")

MARKETS = ("spot", "linear", "inverse", "option")
PARAMS = 10001
STATUSES = ("PreLaunch", "PendingOpen", "Trading", "Delivering", "Closed")


class Refused(Exception):
    """A response with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class RestHandlers:
    """Responses as functions of the query and the time."""

    catalogue: Catalogue
    markets: dict[str, Market]
    account: Account
    key: str
    wallet_lag_ms: Callable[[], int] = lambda: 0

    def public(self) -> dict[str, Callable[[Query, int], Row]]:
        return {
            "/v5/market/time": self.time,
            "/v5/market/instruments-info": self.instruments,
            "/v5/market/recent-trade": self.recent_trades,
            "/v5/market/kline": self.kline,
            "/v5/market/orderbook": self.orderbook,
        }

    def private(self) -> dict[str, Callable[[Query, int], Row]]:
        return {
            "/v5/account/wallet-balance": self.wallet,
            "/v5/execution/list": self.executions,
            "/v5/order/realtime": self.orders,
            "/v5/position/list": self.positions,
            "/v5/user/query-api": self.api_key,
            "/v5/account/info": self.account_info,
            "/v5/asset/coin/query-info": self.coins,
        }

    def time(self, _query: Query, now_ms: int) -> Row:
        return {"timeSecond": str(now_ms // 1000), "timeNano": str(now_ms * 1_000_000)}

    def instruments(self, query: Query, _now_ms: int) -> Row:
        category = _category(query)
        found = [i for i in self.catalogue.of(category) if _wanted(i, query)]
        if "symbol" in query and not found and category != "spot":
            raise Refused(PARAMS, f"params error: symbol invalid {query['symbol']}")
        if category == "spot":
            return {"category": category, "list": [i.row for i in found]}
        limit = _whole(query, "limit", 500, 1000)
        page, cursor = _page_of_instruments(found, limit, query.get("cursor", ""))
        rows = [i.row for i in page]
        if category == "option":
            return {"category": category, "nextPageCursor": cursor, "list": rows}
        return {"category": category, "list": rows, "nextPageCursor": cursor}

    def recent_trades(self, query: Query, now_ms: int) -> Row:
        category, found = self._quote(query, now_ms)
        most = 60 if category == "spot" else 1000
        limit = _whole(query, "limit", min(500, most), most)
        rows = [
            {
                "execId": trade.id,
                "symbol": trade.symbol,
                "price": trimmed(trade.price) if category == "spot" else trade.price,
                "size": trimmed(trade.size) if category == "spot" else trade.size,
                "side": trade.side,
                "time": str(trade.at_ms),
                "isBlockTrade": False,
                "isRPITrade": False,
                "seq": str(trade.seq),
            }
            for trade in reversed(found.trades)
        ]
        return {"category": category, "list": rows[:limit]}

    def kline(self, query: Query, now_ms: int) -> Row:
        category, found = self._quote(query, now_ms)
        interval = query.get("interval", "")
        if interval not in INTERVALS:
            raise Refused(PARAMS, f"params error: interval {interval!r}; allowed is {', '.join(INTERVALS)}")
        limit = _whole(query, "limit", 200, 1000)
        last_ms = min(_whole(query, "end", now_ms), now_ms)
        first_ms = _whole(query, "start", last_ms - candle_length_ms(interval) * (limit + 1))
        candles = _candles(found, interval, first_ms, last_ms, limit, now_ms)
        rows = [candle.row() for candle in candles]
        return {"symbol": query["symbol"], "category": category, "list": rows}

    def orderbook(self, query: Query, now_ms: int) -> Row:
        category, found = self._quote(query, now_ms)
        depth = _whole(query, "limit", 25 if category in ("linear", "inverse") else 1, 1000)
        u = self.markets[category].update_id(query["symbol"], depth)
        tidy = str if category in ("linear", "inverse") else trimmed
        asks = [[tidy(price), tidy(size)] for price, size in found.book.asks.best(depth)]
        bids = [[tidy(price), tidy(size)] for price, size in found.book.bids.best(depth)]
        numbers = {"ts": now_ms, "u": u, "seq": found.seq, "cts": found.at_ms}
        return {"s": query["symbol"], "a": asks, "b": bids, **numbers}

    def wallet(self, query: Query, now_ms: int) -> Row:
        if query.get("accountType") != "UNIFIED":
            raise Refused(PARAMS, "accountType only support UNIFIED.")
        names = [name for name in query.get("coin", "").split(",") if name]
        row = sample("rest.wallet")
        pattern = row["coin"][0]
        lag_ms = self.wallet_lag_ms()
        coins = self.account.coins_at(now_ms - lag_ms) if lag_ms else self.account.coins
        row |= totals(coins.values())
        row["coin"] = [_like(pattern, values) for values in _shown(coins, names)]
        return {"list": [row]}

    def executions(self, query: Query, now_ms: int) -> Row:
        category = _category(query)
        limit = _whole(query, "limit", 50, 100)
        last_ms = _whole(query, "endTime", now_ms)
        first_ms = _whole(query, "startTime", last_ms - 7 * DAY_MS)
        if last_ms - first_ms > 7 * DAY_MS:
            raise Refused(PARAMS, "The time range between startTime and endTime cannot exceed 7 days.")

        def wanted(fill: Fill) -> bool:
            mine = fill.category == category and first_ms <= fill.at_ms <= last_ms
            return (
                mine
                and query.get("symbol", fill.symbol) == fill.symbol
                and query.get("orderId", fill.order_id) == fill.order_id
            )

        fills = [fill for fill in self.account.fills if wanted(fill)]
        page, cursor = _page(fills, limit, query.get("cursor", ""), lambda fill: str(fill.seq))
        rows = [_like(sample("rest.execution"), execution_row(fill)) for fill in page]
        return {"nextPageCursor": cursor, "category": category, "list": rows}

    def orders(self, query: Query, _now_ms: int) -> Row:
        category = _category(query)
        if category == "linear" and not {"symbol", "baseCoin", "settleCoin"} & set(query):
            raise Refused(PARAMS, "Missing some parameters that must be filled in, symbol or settleCoin or baseCoin")
        open_only = _whole(query, "openOnly", 0, 1)
        known = self.account.closed_orders if open_only else self.account.open_orders.values()
        rows = [_like(sample("rest.order"), row) for row in known if _is_asked_for(row, category, query)]
        rows.sort(key=lambda row: int(row["createdTime"]), reverse=True)
        limit = _whole(query, "limit", 20, 50)
        page, cursor = _page(rows, limit, query.get("cursor", ""), lambda row: str(row["orderId"]))
        return {"list": page, "nextPageCursor": cursor, "category": category}

    def positions(self, query: Query, _now_ms: int) -> Row:
        category = _category(query)
        if category == "linear" and not {"symbol", "settleCoin"} & set(query):
            raise Refused(PARAMS, "Missing some parameters that must be filled in, symbol or settleCoin")
        held = self.account.positions.values() if category == "linear" else []
        if query.get("settleCoin", "USDT") != "USDT":
            held = []
        values = [
            position_values(p) for p in held if (p.symbol == query["symbol"] if "symbol" in query else p.size != 0)
        ]
        rows = [_like(sample("rest.position"), row | {"avgPrice": row["entryPrice"]}) for row in values]
        limit = _whole(query, "limit", 20, 200)
        page, cursor = _page(rows, limit, query.get("cursor", ""), lambda row: str(row["symbol"]))
        return {"list": page, "nextPageCursor": cursor, "category": category}

    def api_key(self, _query: Query, _now_ms: int) -> Row:
        return sample("rest.key") | {"apiKey": self.key, "note": "simulator", "userID": USER_ID, "unified": 0, "uta": 1}

    def account_info(self, _query: Query, now_ms: int) -> Row:
        """A unified account (status 4), which some clients request before they subscribe."""
        return {
            "marginMode": "REGULAR_MARGIN",
            "updatedTime": str(now_ms),
            "unifiedMarginStatus": 4,
            "dcpStatus": "OFF",
            "timeWindow": 10,
            "smpGroup": 0,
            "isMasterTrader": False,
            "spotHedgingStatus": "OFF",
        }

    def coins(self, _query: Query, _now_ms: int) -> Row:
        """No coin can be deposited or withdrawn here."""
        return {"rows": []}

    def _quote(self, query: Query, now_ms: int) -> tuple[str, Quote]:
        category, symbol = _category(query), query.get("symbol", "")
        found = self.markets[category].quote(symbol, now_ms)
        if found is None:
            raise Refused(PARAMS, f"params error: symbol invalid {symbol}")
        return category, found


def _shown(coins: Mapping[str, Coin], names: Sequence[str]) -> list[Row]:
    """Coins with a balance, or exactly the requested ones."""
    if names:
        return [coins[name].values() if name in coins else {"coin": name} for name in names]
    rows = [coin.values() for coin in coins.values()]
    return [row for row in rows if _not_zero(row["walletBalance"]) or _not_zero(row["equity"])]


def _category(query: Query) -> str:
    category = query.get("category", "")
    if category not in MARKETS:
        raise Refused(PARAMS, f"params error: category {category!r}; allowed is {', '.join(MARKETS)}")
    return category


def _whole(query: Query, name: str, default: int, most: int | None = None) -> int:
    text = query.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or (most is not None and int(text) > most):
        upto = "" if most is None else f" up to {most}"
        raise Refused(PARAMS, f"params error: {name} {text!r}; allowed is a whole number{upto}")
    return int(text)


def _wanted(instrument: Instrument, query: Query) -> bool:
    default_base = "BTC" if instrument.category == "option" and "symbol" not in query else instrument.base
    return (
        query.get("symbol", instrument.symbol) == instrument.symbol
        and instrument.status in _statuses(instrument.category, query)
        and query.get("baseCoin", default_base) == instrument.base
    )


def _statuses(category: str, query: Query) -> tuple[str, ...]:
    """Without `status`, and unless a symbol is named, only these are listed."""
    if "status" in query:
        return (query["status"],)
    if "symbol" in query:
        return STATUSES
    return ("Trading", "PreLaunch", "Delivering") if category == "option" else ("Trading",)


def _page_of_instruments(found: list[Instrument], limit: int, cursor: str) -> tuple[list[Instrument], str]:
    """A page, and a cursor that comes percent-encoded as first=…&last=…."""
    begin = 0
    if cursor:
        last = parse_qs(cursor).get("last", [""])[0]
        places = [number for number, each in enumerate(found) if each.symbol == last]
        if not places:
            raise Refused(PARAMS, f"params error: cursor {cursor!r} is not one that was given out")
        begin = places[0] + 1
    page = found[begin : begin + limit]
    if begin + limit >= len(found) or not page:
        return page, ""
    return page, quote(f"first={page[0].symbol}&last={page[-1].symbol}", safe="")


def _page(items: Sequence[Item], limit: int, cursor: str, name: Callable[[Item], str]) -> tuple[list[Item], str]:
    """The items after the one the cursor names; they may have moved since."""
    begin = 0
    if cursor:
        after = cursor.partition(":")[0]
        begin = next((number + 1 for number, item in enumerate(items) if name(item) == after), len(items))
    page = list(items[begin : begin + limit])
    more = begin + limit < len(items)
    return page, quote(f"{name(page[-1])}:0", safe="") if more and page else ""


def _candles(found: Quote, interval: str, first_ms: int, last_ms: int, limit: int, now_ms: int) -> list[Candle]:
    """Newest first, each starting between the two moments."""
    candles: list[Candle] = []
    start_ms = candle_start(interval, last_ms)
    while start_ms >= first_ms and len(candles) < limit:
        candles.append(found.candle(interval, start_ms, now_ms))
        start_ms = candle_start(interval, start_ms - 1)
    return candles


def _is_asked_for(row: Row, category: str, query: Query) -> bool:
    symbol = str(row["symbol"])
    return (
        row["category"] == category
        and query.get("symbol", symbol) == symbol
        and query.get("baseCoin", symbol.removesuffix("USDT")) == symbol.removesuffix("USDT")
        and query.get("settleCoin", "USDT") == "USDT"
        and query.get("orderId", row["orderId"]) == row["orderId"]
    )


def _like(pattern: Row, values: Row) -> Row:
    """The pattern's keys in the pattern's order, with these values."""
    return {key: values.get(key, usual) for key, usual in pattern.items()}


def _not_zero(number: str) -> bool:
    return number != "" and Decimal(number) != 0
