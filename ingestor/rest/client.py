"""What we ask the exchange over REST: few calls, each rare."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP
from requests import RequestException

from common import settings
from common.channels import Channel
from common.errors import MALFORMED, Unavailable, reported_as
from common.foreign import plain
from common.tables.instruments import Instrument
from ingestor.bybit import identity
from ingestor.bybit.identity import Element
from ingestor.rest.account import Account

log = structlog.get_logger(__name__)

ORIGINS = {
    "mainnet": "https://api.bybit.com",
    "testnet": "https://api-testnet.bybit.com",
    "demo": "https://api-demo.bybit.com",
    "simulator": "http://127.0.0.1:4480",
}
CATEGORIES = ("linear", "spot", "inverse", "option")
_ANSWER_WITHIN_S = 5.0
_RECEIVE_WINDOW_MS = 10_000
_PAGE = 1000
_MOST_PAGES = 50
_OPTION_COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "MNT")
_ERRORS = (FailedRequestError, InvalidRequestError, RequestException, PermissionError, *MALFORMED)

_EXECUTIONS, _ORDERS, _POSITIONS, _CANDLES = 100, 50, 200, 1000  # the longest pages (v5/…/list)
_TRADES, _SPOT_TRADES = 1000, 60
_EXECUTIONS_REACH_BACK_MS = 7 * identity.DAY_MS - 10 * identity.MINUTE_MS
_ORDERS_OF = (
    {"category": "linear", "settleCoin": "USDT"},
    {"category": "linear", "settleCoin": "USDC"},
    {"category": "spot"},
    {"category": "inverse"},
    {"category": "option"},
)  # linear wants to know the coin
_POSITIONS_OF = tuple(each for each in _ORDERS_OF if each["category"] != "spot")
_NO_EXPIRY_YEAR = 1970  # what Bybit says of a key that does not expire


@dataclass(frozen=True, slots=True)
class RestSnapshot:
    """A REST result as JSON; its version is when it was asked for, by the exchange's clock."""

    result: bytes
    version_ms: int


@dataclass(slots=True)
class RestHistory:
    """What REST remembers, and what it could not tell."""

    elements: list[Element] = field(default_factory=list)  # the oldest first
    rows: list[Any] = field(default_factory=list)  # the same as Bybit lists them, the newest first
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def healed(self) -> str:
        """As the table of gaps says it."""
        if not self.failures:
            return "yes"
        return "in part" if self.answered else "no"


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    """Of our API key: when it ends, None if never, and what it may do."""

    expires_at: datetime | None
    permissions: Mapping[str, list[str]]


class RestClient:
    """Signed and public calls; every failure is Unavailable, because nothing may hang on them."""

    def __init__(self, bybit: settings.Bybit, account: Account, now_ms: Callable[[], int]) -> None:
        self._origin = bybit.rest_url or ORIGINS[bybit.environment]
        self._account = account
        self._now_ms = now_ms

    def clock(self) -> tuple[int, float]:
        """The exchange's time in ms, and how long the question took in s."""
        asked_at = time.monotonic()
        with reported_as(Unavailable, *_ERRORS):
            answer = self._client().get_server_time()
            return int(answer["result"]["timeNano"]) // 1_000_000, time.monotonic() - asked_at

    def instruments(self, category: str) -> list[Instrument]:
        """Every symbol that the category lists, each once; a row that makes no sense is passed over."""
        coins = _OPTION_COINS if category == "option" else (None,)
        rows = [
            row
            for coin in coins
            for row in self._listed("get_instruments_info", {"category": category, "baseCoin": coin, "limit": _PAGE})
        ]
        found = [instrument for row in rows if (instrument := _instrument(category, row)) is not None]
        if len(found) < len(rows):
            log.warning("instruments that make no sense", category=category, passed_over=len(rows) - len(found))
        return list({instrument.symbol: instrument for instrument in found}.values())

    def wallet(self) -> RestSnapshot:
        """The unified account's coins; those that are zero are left out by Bybit."""
        version_ms = self._now_ms()
        with reported_as(Unavailable, *_ERRORS):
            answer = self._client().get_wallet_balance(accountType="UNIFIED")
            result = answer["result"]
            if not result["list"]:
                raise ValueError("an empty wallet list")
            return RestSnapshot(orjson.dumps(result), version_ms)

    def open_orders(self) -> list[RestSnapshot]:
        """All orders that may still be filled, category by category."""
        return self._state("get_open_orders", [each | {"openOnly": 0, "limit": _ORDERS} for each in _ORDERS_OF])

    def positions(self) -> list[RestSnapshot]:
        """All positions that are not flat, category by category."""
        return self._state("get_positions", [each | {"limit": _POSITIONS} for each in _POSITIONS_OF])

    def key(self) -> ApiKeyInfo:
        with reported_as(Unavailable, *_ERRORS):
            result = self._client().get_api_key_information()["result"]
            ends = datetime.fromisoformat(result["expiredAt"]) if result.get("expiredAt") else None
            if ends is not None and ends.tzinfo is None:
                ends = ends.replace(tzinfo=UTC)
            never = ends is None or ends.year <= _NO_EXPIRY_YEAR
            return ApiKeyInfo(None if never else ends, dict(result["permissions"]))

    # -- the past -------------------------------------------------------------------------------------------

    def past(self, channel: Channel, since_ms: int, to_ms: int, until: float) -> RestHistory:
        """What happened on the topic in this time, as far as it is told before `until`, a monotonic moment.

        What is younger than `to_ms` may be among it.
        """
        try:
            past = self._rows(channel, since_ms, to_ms, until)
            past.elements = identity.elements(channel.channel_type, past.rows)
        except MALFORMED as error:
            return RestHistory(failures=[plain(f"rows that make no sense: {type(error).__name__}: {error}")])
        return past

    def _rows(self, channel: Channel, since_ms: int, to_ms: int, until: float) -> RestHistory:
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
        past = RestHistory(failures=[] if since_ms >= earliest_ms else ["longer ago than Bybit tells"])
        for category in CATEGORIES:
            query = {"category": category, "startTime": max(since_ms, earliest_ms), "limit": _EXECUTIONS}
            self._gather(past, "get_executions", query, until)
        return past

    def _orders(self, since_ms: int, until: float) -> RestHistory:
        past = RestHistory()
        for open_only in (0, 1):
            for which in _ORDERS_OF:
                query = which | {"openOnly": open_only, "limit": _ORDERS}
                self._gather(past, "get_open_orders", query, until)
        past.rows = [row for row in past.rows if int(row["updatedTime"]) >= since_ms]
        past.rows.sort(key=lambda row: int(row["updatedTime"]), reverse=True)
        return past

    def _trades(self, channel: Channel, since_ms: int, until: float) -> RestHistory:
        past = RestHistory()
        which = "baseCoin" if channel.category == "option" else "symbol"
        limit = _SPOT_TRADES if channel.category == "spot" else _TRADES
        query = {"category": channel.category, which: channel.symbol, "limit": limit}
        self._gather(past, "get_public_trade_history", query, until)
        full = len(past.rows) >= limit
        if full and int(past.rows[-1]["time"]) > since_ms:
            past.failures.append("Bybit tells only the newest trades")
        past.rows = [row for row in past.rows if int(row["time"]) >= since_ms]
        return past

    def _candles(self, channel: Channel, since_ms: int, to_ms: int, until: float) -> RestHistory:
        past, interval = RestHistory(), channel.interval or "1"
        start_ms = since_ms - identity.interval_ms(interval)
        query = {"category": channel.category, "symbol": channel.symbol, "interval": interval, "start": start_ms}
        self._gather(past, "get_kline", query | {"limit": _CANDLES}, until)
        if len(past.rows) >= _CANDLES:
            past.failures.append("more candles than Bybit tells at once")
        past.rows = identity.closed_candles(past.rows, interval, since_ms, to_ms)
        return past

    def _gather(self, past: RestHistory, call: str, query: Mapping[str, Any], until: float) -> None:
        try:
            past.rows += self._listed(call, query, until)
            past.answered += 1
        except Unavailable as failure:
            past.failures.append(f"{query['category']}: {failure}")

    # -- asking ---------------------------------------------------------------------------------------------

    def _state(self, call: str, queries: list[dict[str, Any]]) -> list[RestSnapshot]:
        found: dict[str, list[Any]] = {}
        version_ms = self._now_ms()
        for query in queries:
            found.setdefault(query["category"], []).extend(self._listed(call, query))
        with reported_as(Unavailable, *_ERRORS):
            return [
                RestSnapshot(orjson.dumps({"category": category, "list": rows}), version_ms)
                for category, rows in found.items()
            ]

    def _listed(self, call: str, query: Mapping[str, Any], until: float | None = None) -> list[Any]:
        """All pages of a list, in the order in which Bybit gives them."""
        with reported_as(Unavailable, *_ERRORS):
            return [row for page in self._pages(call, query, until) for row in page]

    def _pages(self, call: str, query: Mapping[str, Any], until: float | None) -> Iterator[list[Any]]:
        cursor = ""
        for _ in range(_MOST_PAGES):
            left_s = _ANSWER_WITHIN_S if until is None else min(_ANSWER_WITHIN_S, until - time.monotonic())
            if left_s <= 0:
                raise ValueError("no time left to ask")
            more = {"cursor": cursor} if cursor else {}
            result = getattr(self._client(left_s), call)(**query, **more)["result"]
            if "category" not in result:
                raise ValueError("an answer without its category")
            if type(result["list"]) is not list:
                raise ValueError("an answer without a list")
            yield result["list"]
            cursor = result.get("nextPageCursor") or ""
            if not cursor:
                return
        raise ValueError("the list has no end")

    def _client(self, within_s: float = _ANSWER_WITHIN_S) -> Any:
        credentials = self._account.credentials
        keys = {"api_key": credentials.key, "api_secret": credentials.secret} if credentials else {}
        client = _Client(timeout=within_s, max_retries=1, recv_window=_RECEIVE_WINDOW_MS, retry_codes={0}, **keys)
        client.endpoint = self._origin
        client.client.trust_env = False
        client.client.max_redirects = 0
        client.now_ms = self._now_ms
        return client


class _Client(HTTP):  # type: ignore[misc]
    """pybit signs with this machine's clock, and Bybit refuses what is more than a second ahead of its own.

    The hook is private; a test against the simulator's skewed clock fails when a release of pybit moves it.
    """

    now_ms: Callable[[], int]

    def _prepare_headers(self, payload: str, recv_window: int, content_type: str = "application/json") -> Any:
        stamp = self.now_ms()
        return {
            "Content-Type": content_type,
            "X-BAPI-API-KEY": self.api_key,
            "X-BAPI-SIGN": self._auth(payload=payload, recv_window=recv_window, timestamp=stamp),
            "X-BAPI-SIGN-TYPE": "2",
            "X-BAPI-TIMESTAMP": str(stamp),
            "X-BAPI-RECV-WINDOW": str(recv_window),
        }


def _instrument(category: str, row: Any) -> Instrument | None:
    """None of a row that lacks something; whoever lists it anew one day lists it whole."""
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
        raise ValueError("no name")
    return value
