"""The rows that a balance event becomes."""

from typing import Any, TypeAlias

from persister import checks
from persister.checks import ZERO, Standing
from persister.message import COIN_AMOUNTS, COIN_FLAGS, COIN_TEXTS, Account, Balances, Coin
from persister.message import available_and_frozen as _available_and_frozen
from persister.reconcile import Difference, Key, standing_of

Row: TypeAlias = dict[str, Any]

_NOT_LISTED = -1
_COLUMNS = (*COIN_AMOUNTS.values(), *COIN_FLAGS.values(), *COIN_TEXTS.values())
_ZERO_WHEN_GONE = ("wallet_balance", "available_balance", "frozen", "locked", "equity", "usd_value")
_GONE: Row = dict.fromkeys(_COLUMNS) | dict.fromkeys(_ZERO_WHEN_GONE, ZERO)


def of_accounts(event: Balances) -> list[Row]:
    return [_account_row(event, account) for account in event.accounts]


def of_coins(event: Balances, ledger: dict[Key, Standing]) -> list[Row]:
    """Every coin of the event; `ledger` moves along with them."""
    return [_in_turn(event, account, coin, ledger) for account in event.accounts for coin in account.coins]


def of_drift(snapshot: Balances, drift: Difference, ledger: dict[Key, Standing]) -> Row:
    """What two snapshots agreed on; `ledger` moves along."""
    if drift.told is not None:
        return _in_turn(snapshot, snapshot.accounts[drift.account_no], drift.told, ledger)
    ledger[drift.key] = Standing(snapshot.at, ZERO, ZERO, ZERO, ZERO)
    place = {"account_no": drift.account_no, "coin": drift.coin, "coin_no": _NOT_LISTED}
    return _stamp(snapshot) | place | {"account_type": drift.account_type} | _GONE | {"anomalies": [], "raw": "null"}


def _in_turn(event: Balances, account: Account, coin: Coin, ledger: dict[Key, Standing]) -> Row:
    key = (coin.name, account.type)
    before = ledger.get(key)
    if before is None or event.at >= before.at:
        ledger[key] = standing_of(coin, event.at)
    return _coin_row(event, account, coin, before)


def _coin_row(event: Balances, account: Account, coin: Coin, before: Standing | None) -> Row:
    available, frozen = _available_and_frozen(account.type, coin.amounts)
    return {
        **_stamp(event),
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


def _account_row(event: Balances, account: Account) -> Row:
    return {
        **_stamp(event),
        "account_no": account.number,
        "account_type": account.type,
        **account.amounts,
        "anomalies": list(checks.of_account(account, event)),
        "raw": event.text,
    }


def _stamp(event: Balances) -> Row:
    return {
        "event_timestamp": event.at,
        "event_id": event.id,
        "received_at": event.received_at,
        "trace_id": event.id,
        "origin": event.origin,
    }
