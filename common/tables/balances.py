"""Insert into both balance ledgers with one statement."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, literal, select, union_all

from common.tables.account_balances import account_balances
from common.tables.account_margin_balances import account_margin_balances
from common.tables.bulk_insert import adding, rows_of

_GENERATED = ["id", "recorded_at"]
_c, _a = account_balances.c, account_margin_balances.c
_coins = adding(account_balances, _GENERATED, [_c.event_id, _c.account_type, _c.coin, _c.anomalies]).cte("coins")
_accounts = adding(account_margin_balances, _GENERATED, [_a.event_id, _a.account_type, _a.anomalies]).cte("accounts")
_ADD = union_all(
    select(
        literal("account_balances").label("ledger"),
        _coins.c.event_id,
        _coins.c.account_type,
        _coins.c.coin,
        _coins.c.anomalies,
    ),
    select(
        literal("account_margin_balances"),
        _accounts.c.event_id,
        _accounts.c.account_type,
        literal(""),
        _accounts.c.anomalies,
    ),
)


def add(
    connection: Connection, coins: Sequence[Mapping[str, Any]], accounts: Sequence[Mapping[str, Any]]
) -> Sequence[Row[Any]]:
    """Insert rows, skipping those already stored; return the new ones with the name of their table (`ledger`).

    One statement, so that a batch costs one round trip and commits by itself.
    """
    return connection.execute(_ADD, rows_of(account_balances, coins) | rows_of(account_margin_balances, accounts)).all()
