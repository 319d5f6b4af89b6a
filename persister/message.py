"""A balance event as values: its accounts, coins and amounts."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from common.errors import BadMessage
from persister import raw_json
from persister.raw_json import RawPart

LIVE = "live"
SNAPSHOT = "snapshot"
_LISTED_UNDER = {("bybit.balance", LIVE): "data", ("bybit.balance.snapshot", SNAPSHOT): "list"}
_DEPTH = 5  # event, data, its list, account, its coins: each keeps its own text, down to the coin

COIN_AMOUNTS = {
    "walletBalance": "wallet_balance",
    "equity": "equity",
    "usdValue": "usd_value",
    "locked": "locked",
    "spotHedgingQty": "spot_hedging_qty",
    "bonus": "bonus",
    "borrowAmount": "borrow_amount",
    "spotBorrow": "spot_borrow",
    "accruedInterest": "accrued_interest",
    "totalOrderIM": "total_order_im",
    "totalPositionIM": "total_position_im",
    "totalPositionMM": "total_position_mm",
    "unrealisedPnl": "unrealised_pnl",
    "cumRealisedPnl": "cum_realised_pnl",
    "availableToWithdraw": "available_to_withdraw",
    "availableToBorrow": "available_to_borrow",
    "free": "free",
}
COIN_FLAGS = {"collateralSwitch": "collateral_switch", "marginCollateral": "margin_collateral"}
COIN_TEXTS = {"colRes": "col_res"}
ACCOUNT_AMOUNTS = {
    "totalEquity": "total_equity",
    "totalWalletBalance": "total_wallet_balance",
    "totalMarginBalance": "total_margin_balance",
    "totalAvailableBalance": "total_available_balance",
    "totalPerpUPL": "total_perp_upl",
    "totalInitialMargin": "total_initial_margin",
    "totalMaintenanceMargin": "total_maintenance_margin",
    "totalInitialMarginByMp": "total_initial_margin_by_mp",
    "totalMaintenanceMarginByMp": "total_maintenance_margin_by_mp",
    "accountIMRate": "account_im_rate",
    "accountMMRate": "account_mm_rate",
    "accountIMRateByMp": "account_im_rate_by_mp",
    "accountMMRateByMp": "account_mm_rate_by_mp",
    "accountLTV": "account_ltv",
}
"""Bybit's name of a field (websocket/private/wallet), and the column it is stored in."""

_KNOWN = {
    "message": {"id", "topic", "creationTime", "data", "list"},
    "account": {"accountType", "coin", *ACCOUNT_AMOUNTS},
    "coin": {"coin", *COIN_AMOUNTS, *COIN_FLAGS, *COIN_TEXTS},
}
_SHORT_AMOUNT = re.compile(r"-?\d{1,60}(\.\d{1,60})?", re.ASCII).fullmatch  # nearly all; always fits
_AMOUNT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII).fullmatch
_MAX_DIGITS = 131_072  # of PostgreSQL's numeric before the point, and after it:
_MAX_DECIMALS = 16_383
_LONGEST_NAME = 255
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search  # in a name: control characters, lone surrogates
_MILLISECONDS = re.compile(r"\d{1,15}", re.ASCII).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # of any time in a message
_IMPOSSIBLY_AHEAD = timedelta(days=1)  # a clock is never that wrong; such a balance would stay the latest for good
EXACTLY = Context(prec=2 * _MAX_DIGITS)  # sums keep every digit; Python's own context would round to 28

Amounts = Mapping[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class Coin:
    number: int  # place in the account's list
    name: str
    amounts: Amounts  # by column; Bybit's "" and what is absent are None
    flags: Mapping[str, bool | None]
    texts: Mapping[str, str | None]
    text: str
    unclear: tuple[str, ...] = ()  # columns left empty because their value has an unexpected type


@dataclass(frozen=True, slots=True)
class AccountMargin:
    number: int  # place in the message's data
    type: str
    amounts: Amounts
    coins: tuple[Coin, ...]


@dataclass(frozen=True, slots=True)
class BalanceEvent:
    """One event of the class `balance`."""

    id: str
    origin: str
    at: datetime  # exchange clock; received_at where the exchange sent no time, or an impossible one
    exchange_at: datetime | None  # as the exchange sent it
    received_at: datetime
    accounts: tuple[AccountMargin, ...]
    text: str
    unknown: frozenset[str]  # fields that no column exists for

    @property
    def coins(self) -> int:
        return sum(len(account.coins) for account in self.accounts)


def read(body: bytes) -> BalanceEvent | None:
    """The event in a message's body, None for events without balances (gaps); raises BadMessage."""
    event = _members(_parsed(body), "the event")
    origin = _optional_text(event.get("origin"), "origin") or ""
    listed_under = _LISTED_UNDER.get((_text(event, "type"), origin))
    if listed_under is None:
        return None
    received_at = _moment(event, "receivedtime")
    if received_at is None:
        raise BadMessage(f"receivedtime is missing, or not between {_EARLIEST.year} and {_LATEST.year}")
    message = _members(event.get("data"), "data")
    exchange_at = _moment(event, "time") or _creation_time(message.get("creationTime"))
    accounts = _elements(message.get(listed_under), listed_under)
    unknown = _unknown("message", message)
    return BalanceEvent(
        id=_text(event, "id"),
        origin=origin,
        at=received_at if exchange_at is None or exchange_at > received_at + _IMPOSSIBLY_AHEAD else exchange_at,
        exchange_at=exchange_at,
        received_at=received_at,
        accounts=tuple(_account(number, part, unknown) for number, part in enumerate(accounts)),
        text=event["data"].text,
        unknown=frozenset(unknown),
    )


def available_and_frozen(account_type: str, coin: Amounts) -> tuple[Decimal | None, Decimal | None]:
    """The amount of a coin that is free to be used, and the amount tied up in orders and positions.

    Bybit's own value of the first counts where it is sent. Where it is not (UNIFIED since 2025-01) it is computed as
    Bybit did: the wallet balance, less an unrealised loss, less what is frozen, and never below zero.
    """
    stated_in, tied_up_in = _DEFINED.get(account_type, _DEFINED["UNIFIED"])
    frozen = _sum(coin[column] for column in tied_up_in)
    stated = next((coin[column] for column in stated_in if coin[column] is not None), None)
    return (stated if stated is not None else _left_over(coin, frozen)), frozen


_DEFINED = {  # account type: the fields of the available amount, and those of what is tied up
    "UNIFIED": (("available_to_withdraw",), ("locked", "total_order_im", "total_position_im")),
    "CONTRACT": (("available_to_withdraw",), ("total_order_im", "total_position_im")),
    "SPOT": (("free", "available_to_withdraw"), ("locked",)),
}


def _left_over(coin: Amounts, frozen: Decimal | None) -> Decimal | None:
    owned = coin["wallet_balance"]
    if owned is None:
        return None
    loss = min(coin["unrealised_pnl"] or Decimal(0), Decimal(0))
    free = EXACTLY.add(EXACTLY.subtract(owned, coin["spot_borrow"] or Decimal(0)), loss)
    return max(EXACTLY.subtract(free, frozen or Decimal(0)), Decimal(0))


def _sum(amounts: Any) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    total = Decimal(0)
    for amount in known:
        total = EXACTLY.add(total, amount)
    return total if known else None


def _parsed(body: bytes) -> Any:
    try:
        return raw_json.parse(body.decode("utf-8"), _DEPTH)
    except ValueError as error:
        raise BadMessage(str(error)) from error


def _account(number: int, part: Any, unknown: set[str]) -> AccountMargin:
    account = _members(part, f"account {number}")
    unknown |= _unknown("account", account)
    listed = account.get("coin")
    coins = [] if listed is None or listed == "" else _elements(listed, "coin")
    return AccountMargin(
        number=number,
        type=_optional_text(account.get("accountType"), "accountType") or "",
        amounts=_amounts(account, ACCOUNT_AMOUNTS, "account"),
        coins=tuple(_coin(place, coin, unknown) for place, coin in enumerate(coins)),
    )


def _coin(number: int, part: Any, unknown: set[str]) -> Coin:
    coin = _members(part, f"coin {number}")
    name = _optional_text(coin.get("coin"), "coin")
    if not name:
        raise BadMessage(f"coin {number} must have a name")
    unknown |= _unknown("coin", coin)
    flags = {column: _flag(coin.get(field)) for field, column in COIN_FLAGS.items()}
    texts = {column: _plain(coin.get(field)) for field, column in COIN_TEXTS.items()}
    return Coin(
        number=number,
        name=name,
        amounts=_amounts(coin, COIN_AMOUNTS, name),
        flags={column: None if value is _UNCLEAR else value for column, value in flags.items()},
        texts={column: None if value is _UNCLEAR else value for column, value in texts.items()},
        text=part.text,
        unclear=tuple(column for column, value in (flags | texts).items() if value is _UNCLEAR),
    )


_UNCLEAR: Any = object()  # of a type that the column cannot hold
_WRITTEN_FLAGS = {"true": True, "false": False, "": None}


def _flag(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    return _WRITTEN_FLAGS.get(value, _UNCLEAR) if isinstance(value, str) else _UNCLEAR


def _amounts(members: Mapping[str, Any], columns: Mapping[str, str], whose: str) -> Amounts:
    found: dict[str, Decimal | None] = {}
    for field, column in columns.items():  # some sixty times per message, so without a call for the plain ones
        value = members.get(field)
        if value is None or value == "":
            found[column] = None
        elif isinstance(value, str) and _SHORT_AMOUNT(value):
            found[column] = Decimal(value)
        else:
            found[column] = _unusual_amount(value, whose, field)
    return found


def _unusual_amount(value: Any, whose: str, field: str) -> Decimal:
    if isinstance(value, str) and _AMOUNT(value):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise BadMessage(f"{whose}: {field} must be an amount")
    _, _, exponent = value.as_tuple()
    if not isinstance(exponent, int) or exponent < -_MAX_DECIMALS or value.adjusted() >= _MAX_DIGITS:
        raise BadMessage(f"{whose}: {field} has more digits than the database can store")
    return value


def _plain(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, Decimal):
        return str(value)
    return value if isinstance(value, str) and not _UNFIT(value) else _UNCLEAR


def _text(members: Mapping[str, Any], name: str) -> str:
    found = _optional_text(members.get(name), name)
    if not found:
        raise BadMessage(f"{name} is missing")
    return found


def _optional_text(value: Any, what: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or _UNFIT(value):
        raise BadMessage(f"{what} must be a text of at most {_LONGEST_NAME} printable characters")
    return value


def _moment(members: Mapping[str, Any], name: str) -> datetime | None:
    """None also for an impossible time: neither PostgreSQL nor Python accepts all that can be written."""
    text = _optional_text(members.get(name), name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadMessage(f"{name} must be an ISO 8601 time") from error
    if moment.tzinfo is None:
        raise BadMessage(f"{name} must have a time zone")
    return moment.astimezone(UTC) if _EARLIEST <= moment < _LATEST else None


def _creation_time(value: Any) -> datetime | None:
    """Bybit's own milliseconds, as a number or a text."""
    if not _MILLISECONDS(str(value)):
        return None
    with suppress(OverflowError):
        moment = _EPOCH + timedelta(milliseconds=int(str(value)))
        return moment if moment < _LATEST else None
    return None


def _members(part: Any, what: str) -> dict[str, Any]:
    if not isinstance(part, RawPart) or not isinstance(part.value, dict):
        raise BadMessage(f"{what} must be an object")
    return part.value


def _elements(part: Any, what: str) -> list[Any]:
    if not isinstance(part, RawPart) or not isinstance(part.value, list):
        raise BadMessage(f"{what} must be a list")
    return part.value


def _unknown(where: str, members: Mapping[str, Any]) -> set[str]:
    return {f"{where}.{name[:_LONGEST_NAME]}" for name in members.keys() - _KNOWN[where]}
