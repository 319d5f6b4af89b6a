"""The rows that a balance event becomes."""

from typing import Any, TypeAlias

from persister import checks
from persister.message import (
    COIN_AMOUNTS,
    COIN_FLAGS,
    COIN_TEXTS,
    AccountMargin,
    BalanceEvent,
    Coin,
    available_and_frozen,
)
from persister.reconcile import Difference
from persister.standing import ZERO, Key, Standing, nothing_at, standing_of

Row: TypeAlias = dict[str, Any]

_NOT_LISTED = -1
_COLUMNS = (*COIN_AMOUNTS.values(), *COIN_FLAGS.values(), *COIN_TEXTS.values())
_ZERO_WHEN_GONE = ("wallet_balance", "available_balance", "frozen", "locked", "equity", "usd_value")
_GONE: Row = dict.fromkeys(_COLUMNS) | dict.fromkeys(_ZERO_WHEN_GONE, ZERO)


def of_accounts(event: BalanceEvent) -> list[Row]:
    """One row of `account_margin_balances` per account."""
    return [_account_row(event, account) for account in event.accounts]


def of_coins(event: BalanceEvent, ledger: dict[Key, Standing]) -> list[Row]:
    """One row of `account_balances` per coin; `ledger` is brought up to date."""
    return [_next_row(event, account, coin, ledger) for account in event.accounts for coin in account.coins]


def of_drift(snapshot: BalanceEvent, drift: Difference, ledger: dict[Key, Standing]) -> Row:
    """What two snapshots agreed on; `ledger` is brought up to date."""
    if drift.listed is not None:
        return _next_row(snapshot, snapshot.accounts[drift.account_no], drift.listed, ledger)
    ledger[drift.key] = nothing_at(snapshot.at)
    place = {"account_no": drift.account_no, "coin": drift.coin, "coin_no": _NOT_LISTED}
    return _common(snapshot) | place | {"account_type": drift.account_type} | _GONE | {"anomalies": [], "raw": "null"}


def _next_row(event: BalanceEvent, account: AccountMargin, coin: Coin, ledger: dict[Key, Standing]) -> Row:
    key = (coin.name, account.type)
    before = ledger.get(key)
    if before is None or event.at >= before.at:
        ledger[key] = standing_of(coin, event.at)
    return _coin_row(event, account, coin, before)


def _coin_row(event: BalanceEvent, account: AccountMargin, coin: Coin, before: Standing | None) -> Row:
    available, frozen = available_and_frozen(account.type, coin.amounts)
    return {
        **_common(event),
        "account_no": account.number,
        "coin": coin.name,
        "coin_no": coin.number,
        "account_type": account.type,
        "available_balance": available,
        "frozen": frozen,
        **coin.amounts,
        **coin.flags,
        **coin.texts,
        "anomalies": list(checks.of_coin(coin, event, before)),
        "raw": coin.text,
    }


def _account_row(event: BalanceEvent, account: AccountMargin) -> Row:
    return {
        **_common(event),
        "account_no": account.number,
        "account_type": account.type,
        **account.amounts,
        "anomalies": list(checks.of_account(account, event)),
        "raw": event.text,
    }


def _common(event: BalanceEvent) -> Row:
    return {
        "event_timestamp": event.at,
        "event_id": event.id,
        "received_at": event.received_at,
        "trace_id": event.id,
        "origin": event.origin,
    }
