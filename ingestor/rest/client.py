"""The requests that the gateway sends to the exchange's REST API: few, and each rare."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from typing import Any

import orjson
import structlog

from common import settings
from common.channels import Channel
from common.errors import MALFORMED, Unavailable, reported_as
from common.foreign import plain
from common.tables.instruments import Instrument
from ingestor.bybit import identity
from ingestor.bybit.endpoints import (
    API_KEY_PATH,
    CANDLES_PER_PAGE,
    CATEGORIES,
    EXECUTION_HISTORY_MS,
    EXECUTION_LIST_PATH,
    EXECUTIONS_PER_PAGE,
    INSTRUMENTS_INFO_PATH,
    INSTRUMENTS_PER_PAGE,
    KLINE_PATH,
    OPEN_ORDERS_PATH,
    ORDERS_PER_PAGE,
    POSITION_LIST_PATH,
    POSITIONS_PER_PAGE,
    RECENT_TRADE_PATH,
    REST_ORIGINS,
    SPOT_TRADES_PER_PAGE,
    TIME_PATH,
    TRADES_PER_PAGE,
    WALLET_BALANCE_PATH,
)
from ingestor.bybit.identity import Element
from ingestor.rest.account import Account
from ingestor.rest.http import ANSWER_WITHIN_S, InvalidParameters, RestConnection

log = structlog.get_logger(__name__)

_MAX_PAGES = 50
_NOT_YET_TRADING = ("PreLaunch", "PendingOpen")  # v5/enum; without `status` most categories list Trading alone
_OPTION_COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "MNT")

_EXECUTIONS_REACH_BACK_MS = EXECUTION_HISTORY_MS - 10 * identity.MINUTE_MS
_ORDER_QUERIES = (
    {"category": "linear", "settleCoin": "USDT"},
    {"category": "linear", "settleCoin": "USDC"},
    {"category": "spot"},
    {"category": "inverse"},
    {"category": "option"},
)  # linear requires the coin
_POSITION_QUERIES = tuple(each for each in _ORDER_QUERIES if each["category"] != "spot")
_NO_EXPIRY_YEAR = 1970  # the expiry of a key that does not expire


@dataclass(frozen=True, slots=True)
class RestSnapshot:
    """A REST result as JSON; its version is when it was requested, by the exchange's clock."""

    result: bytes
    version_ms: int


@dataclass(slots=True)
class RestHistory:
    """What REST still has of a topic's history, and which requests failed."""

    elements: list[Element] = field(default_factory=list)  # oldest first
    rows: list[Any] = field(default_factory=list)  # the same as Bybit lists them, newest first
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def healed(self) -> str:
        """The value of the column `gaps.healed`: yes, in part or no."""
        if not self.failures:
            return "yes"
        return "in part" if self.answered else "no"


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    """When our API key expires, None for never, and its permissions by group (v5/user/apikey-info)."""

    expires_at: datetime | None
    permissions: Mapping[str, list[str]]


class RestClient:
    """Public and signed requests. Every failure is Unavailable, except that of `history`, which reports its own."""

    def __init__(self, bybit: settings.Bybit, account: Account, now_ms: Callable[[], int]) -> None:
        origin = bybit.rest_url or REST_ORIGINS[bybit.environment]
        self._http = RestConnection(origin, account, now_ms, headers=bybit.headers)
        self._now_ms = now_ms

    def clock(self) -> tuple[int, float]:
        """The exchange's time in ms, and the round trip in s (v5/market/time)."""
        sent_at = time.monotonic()
        with _checked():
            result = self._http.public(TIME_PATH, {})
            return int(result["timeNano"]) // 1_000_000, time.monotonic() - sent_at

    def instruments(self, category: str) -> list[Instrument]:
        """Every symbol of the category, each once; a row that cannot be parsed is skipped (v5/market/instrument).

        Symbols that do not trade yet are included, and requested first: one that opens meanwhile is in both lists.
        """
        coins = _OPTION_COINS if category == "option" else (None,)
        rows: list[Any] = []
        for status, coin in product((*_NOT_YET_TRADING, None), coins):
            query = {"category": category, "status": status, "baseCoin": coin, "limit": INSTRUMENTS_PER_PAGE}
            with suppress(InvalidParameters) if status else nullcontext():  # the category may not have this status
                rows += self._rows(self._http.public, INSTRUMENTS_INFO_PATH, query)
        found = [instrument for row in rows if (instrument := _instrument(category, row)) is not None]
        if len(found) < len(rows):
            log.warning("instruments skipped", category=category, count=len(rows) - len(found))
        return list({instrument.symbol: instrument for instrument in found}.values())

    def wallet(self) -> RestSnapshot:
        """The unified account's coins; Bybit leaves out those that are zero (v5/account/wallet-balance)."""
        version_ms = self._now_ms()
        with _checked():
            result = self._http.private(WALLET_BALANCE_PATH, {"accountType": "UNIFIED"})
            if not result["list"]:
                raise ValueError("an empty wallet list")
            return RestSnapshot(orjson.dumps(result), version_ms)

    def open_orders(self) -> list[RestSnapshot]:
        """All orders that may still be filled, one snapshot per category (v5/order/open-order)."""
        return self._state(
            OPEN_ORDERS_PATH, [each | {"openOnly": 0, "limit": ORDERS_PER_PAGE} for each in _ORDER_QUERIES]
        )

    def positions(self) -> list[RestSnapshot]:
        """All positions that are not flat, one snapshot per category (v5/position)."""
        return self._state(POSITION_LIST_PATH, [each | {"limit": POSITIONS_PER_PAGE} for each in _POSITION_QUERIES])

    def key(self) -> ApiKeyInfo:
        """Expiry and permissions of our API key (v5/user/apikey-info)."""
        with _checked():
            result = self._http.private(API_KEY_PATH, {})
            expires_at = datetime.fromisoformat(result["expiredAt"]) if result.get("expiredAt") else None
            if expires_at is not None and expires_at.tzinfo is None:
                expires_at = expires_at.replace(tzinfo=UTC)
            never = expires_at is None or expires_at.year <= _NO_EXPIRY_YEAR
            return ApiKeyInfo(None if never else expires_at, dict(result["permissions"]))

    # -- history --------------------------------------------------------------------------------------------

    def history(self, channel: Channel, since_ms: int, to_ms: int, until: float) -> RestHistory:
        """What happened on the topic between two times of the exchange's clock, as far as REST still has it.

        No request is sent after `until`, a monotonic time. Elements younger than `to_ms` may be included.
        """
        try:
            history = self._history(channel, since_ms, to_ms, until)
            history.elements = identity.elements(channel.channel_type, history.rows)
        except MALFORMED as error:
            return RestHistory(failures=[plain(f"rows that cannot be parsed: {type(error).__name__}: {error}")])
        return history

    def _history(self, channel: Channel, since_ms: int, to_ms: int, until: float) -> RestHistory:
        match channel.channel_type:
            case "execution":
                return self._executions(since_ms, until)
            case "order":
                return self._orders(since_ms, until)
            case "trades":
                return self._trades(channel, since_ms, until)
            case _:
                return self._candles(channel, since_ms, to_ms, until)

    def _executions(self, since_ms: int, until: float) -> RestHistory:
        earliest_ms = self._now_ms() - _EXECUTIONS_REACH_BACK_MS
        history = RestHistory(failures=[] if since_ms >= earliest_ms else ["longer ago than Bybit lists executions"])
        for category in CATEGORIES:
            query = {"category": category, "startTime": max(since_ms, earliest_ms), "limit": EXECUTIONS_PER_PAGE}
            self._collect(history, self._http.private, EXECUTION_LIST_PATH, query, until)
        return history

    def _orders(self, since_ms: int, until: float) -> RestHistory:
        history = RestHistory()
        for open_only in (0, 1):
            for each in _ORDER_QUERIES:
                query = each | {"openOnly": open_only, "limit": ORDERS_PER_PAGE}
                self._collect(history, self._http.private, OPEN_ORDERS_PATH, query, until)
        history.rows = [row for row in history.rows if int(row["updatedTime"]) >= since_ms]
        history.rows.sort(key=lambda row: int(row["updatedTime"]), reverse=True)
        return history

    def _trades(self, channel: Channel, since_ms: int, until: float) -> RestHistory:
        history = RestHistory()
        name = "baseCoin" if channel.category == "option" else "symbol"
        limit = SPOT_TRADES_PER_PAGE if channel.category == "spot" else TRADES_PER_PAGE
        query = {"category": channel.category, name: channel.symbol, "limit": limit}
        self._collect(history, self._http.public, RECENT_TRADE_PATH, query, until)
        full = len(history.rows) >= limit
        if full and int(history.rows[-1]["time"]) > since_ms:
            history.failures.append("Bybit lists only the newest trades")
        history.rows = [row for row in history.rows if int(row["time"]) >= since_ms]
        return history

    def _candles(self, channel: Channel, since_ms: int, to_ms: int, until: float) -> RestHistory:
        history = RestHistory()
        interval = channel.interval or "1"
        start_ms = since_ms - identity.interval_ms(interval)
        query = {"category": channel.category, "symbol": channel.symbol, "interval": interval, "start": start_ms}
        self._collect(history, self._http.public, KLINE_PATH, query | {"limit": CANDLES_PER_PAGE}, until)
        if len(history.rows) >= CANDLES_PER_PAGE:
            history.failures.append("more candles than Bybit lists at once")
        history.rows = identity.closed_candles(history.rows, interval, since_ms, to_ms)
        return history

    def _collect(
        self, history: RestHistory, get: Callable[..., Any], path: str, query: Mapping[str, Any], until: float
    ) -> None:
        try:
            history.rows += self._rows(get, path, query, until)
            history.answered += 1
        except Unavailable as failure:
            history.failures.append(f"{query['category']}: {failure}")

    # -- lists ----------------------------------------------------------------------------------------------

    def _state(self, path: str, queries: list[dict[str, Any]]) -> list[RestSnapshot]:
        found: dict[str, list[Any]] = {}
        version_ms = self._now_ms()
        for query in queries:
            found.setdefault(query["category"], []).extend(self._rows(self._http.private, path, query))
        with _checked():
            return [
                RestSnapshot(orjson.dumps({"category": category, "list": rows}), version_ms)
                for category, rows in found.items()
            ]

    def _rows(
        self, get: Callable[..., Any], path: str, query: Mapping[str, Any], until: float | None = None
    ) -> list[Any]:
        """The rows of all pages of a list, in Bybit's sequence."""
        with _checked():
            return [row for page in _pages(get, path, query, until) for row in page]


def _pages(get: Callable[..., Any], path: str, query: Mapping[str, Any], until: float | None) -> Iterator[list[Any]]:
    cursor = None
    for _ in range(_MAX_PAGES):
        left_s = ANSWER_WITHIN_S if until is None else min(ANSWER_WITHIN_S, until - time.monotonic())
        if left_s <= 0:
            raise ValueError("no time left for the request")
        result = get(path, {**query, "cursor": cursor}, left_s)
        if "category" not in result:
            raise ValueError("an answer without its category")
        if type(result["list"]) is not list:
            raise ValueError("an answer without a list")
        yield result["list"]
        cursor = result.get("nextPageCursor") or None
        if cursor is None:
            return
    raise ValueError(f"a list of more than {_MAX_PAGES} pages")


def _checked() -> Any:
    """An answer of another shape than documented is Unavailable."""
    return reported_as(Unavailable, *MALFORMED)


def _instrument(category: str, row: Any) -> Instrument | None:
    """None for a row that lacks a field; the next listing may have it whole."""
    try:
        return Instrument(
            category,
            _name(row["symbol"]),
            _name(row["baseCoin"]),
            plain(str(row.get("quoteCoin", ""))),
            _name(row["status"]),
        )
    except MALFORMED:
        return None


def _name(value: Any) -> str:
    if type(value) is not str or not value or value != plain(value):
        raise ValueError("must be a non-empty text without control characters")
    return value
