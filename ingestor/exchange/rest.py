"""What we ask the exchange over REST: few calls, each rare."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP
from requests import RequestException

from common import settings
from common.errors import Unavailable, reported_as
from common.tables.instruments import Instrument
from ingestor.exchange.credentials import Account

ORIGINS = {
    "mainnet": "https://api.bybit.com",
    "testnet": "https://api-testnet.bybit.com",
    "demo": "https://api-demo.bybit.com",
    "simulator": "http://127.0.0.1:4480",
}
CATEGORIES = ("linear", "spot", "inverse", "option")
_ANSWER_WITHIN_S = 5
_PAGE = 1000
_MOST_PAGES = 50
_OPTION_COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE", "MNT")
_ERRORS = (FailedRequestError, InvalidRequestError, RequestException, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A REST result as JSON; its version is when it was asked for, by the exchange's clock."""

    result: bytes
    version_ms: int


class Rest:
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
        """Every symbol that the category lists."""
        coins = _OPTION_COINS if category == "option" else (None,)
        return [instrument for coin in coins for instrument in self._instruments(category, coin)]

    def wallet(self) -> Snapshot:
        """The unified account's coins; those that are zero are left out by Bybit."""
        version_ms = self._now_ms()
        with reported_as(Unavailable, *_ERRORS):
            answer = self._client().get_wallet_balance(accountType="UNIFIED")
            result = answer["result"]
            if not result["list"]:
                raise ValueError("an empty wallet list")
            return Snapshot(orjson.dumps(result), version_ms)

    def _instruments(self, category: str, base_coin: str | None) -> list[Instrument]:
        found: list[Instrument] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            more = {name: value for name, value in (("baseCoin", base_coin), ("cursor", cursor)) if value}
            with reported_as(Unavailable, *_ERRORS):
                answer = self._client().get_instruments_info(category=category, limit=_PAGE, **more)
                found += [_instrument(category, row) for row in answer["result"]["list"]]
                cursor = answer["result"].get("nextPageCursor")
            if not cursor:
                return found
        raise Unavailable(f"the list of {category} has no end")

    def _client(self) -> Any:
        credentials = self._account.credentials
        keys = {"api_key": credentials.key, "api_secret": credentials.secret} if credentials else {}
        client = HTTP(timeout=_ANSWER_WITHIN_S, max_retries=1, recv_window=10_000, **keys)
        client.endpoint = self._origin
        client.client.trust_env = False
        return client


def _instrument(category: str, row: dict[str, Any]) -> Instrument:
    return Instrument(
        category, str(row["symbol"]), str(row["baseCoin"]), str(row.get("quoteCoin", "")), str(row["status"])
    )
