"""The balances in Postgres, written one batch at a time."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Row

from common import database
from common.tables import account_balances, balance_audits, balance_syncs, balances
from persister import metrics, rows
from persister.checks import Standing
from persister.message import SNAPSHOT, Balances
from persister.reconcile import Audit, Comparison, Difference, Held, Key
from persister.report import Report


@dataclass(slots=True)
class Knowledge:
    """What the next batch is judged by: kept when a write succeeds, thrown away when it does not."""

    standing: dict[Key, Standing] = field(default_factory=dict)
    audit: Audit = field(default_factory=Audit)

    def copy(self) -> "Knowledge":
        return Knowledge(dict(self.standing), self.audit.copy())


@dataclass(slots=True)
class Written:
    """What one transaction is to add."""

    coins: list[rows.Row] = field(default_factory=list)
    accounts: list[rows.Row] = field(default_factory=list)
    comparisons: list[tuple[Balances, Comparison]] = field(default_factory=list)


class Ledger:
    """Belongs to the one thread that writes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None  # in use from `open` on: a batch costs one round trip
        self._knowledge = Knowledge()
        self._report = Report()

    def open(self) -> None:
        """Learn what each coin stands at; raises Unavailable while Postgres is away or not migrated yet."""
        if self._connection is not None:
            self._connection.invalidate()  # a session that met a read-only server may stay so when it no longer is
        self._engine.dispose()
        with database.retriable():
            self._connection = database.single_statements(self._engine).connect()
            found = account_balances.standing(self._connection)
            self._connection.rollback()
        self._knowledge = Knowledge({(row.coin, row.account_type): _standing(row) for row in found})

    def write(self, events: Sequence[Balances]) -> None:
        """Commit the events, in their order; raises Unavailable, or BadMessage when Postgres refuses their values."""
        knowledge = self._knowledge.copy()
        written = _to_be_written(events, knowledge)
        began = time.perf_counter()
        with database.storing(), self._transaction(written) as connection:
            added = balances.add(connection, written.coins, written.accounts)
            for snapshot, comparison in written.comparisons:
                _record(connection, snapshot, comparison)
        self._knowledge = knowledge
        metrics.write.observe(time.perf_counter() - began)
        self._report.written(events, written.comparisons, added)

    @contextmanager
    def _transaction(self, written: Written) -> Iterator[Connection]:
        """For comparisons one that holds several statements."""
        if written.comparisons:
            with database.transactions(self._engine).begin() as connection:
                yield connection
            return
        assert self._connection is not None, "not open"
        with self._connection.begin():
            yield self._connection


def _to_be_written(events: Iterable[Balances], knowledge: Knowledge) -> Written:
    written = Written()
    for event in events:
        if event.origin == SNAPSHOT:
            _compare(event, knowledge, written)
            continue
        knowledge.audit.heard_of((coin.name, account.type) for account in event.accounts for coin in account.coins)
        written.coins += rows.of_coins(event, knowledge.standing)
        written.accounts += rows.of_accounts(event)
    return written


def _compare(snapshot: Balances, knowledge: Knowledge, written: Written) -> None:
    comparison = knowledge.audit.compare(snapshot, knowledge.standing)
    written.comparisons.append((snapshot, comparison))
    written.coins += [rows.of_drift(snapshot, drift, knowledge.standing) for drift in comparison.drifts]
    if comparison.drifts:
        written.accounts += rows.of_accounts(snapshot)


def _record(connection: Connection, snapshot: Balances, comparison: Comparison) -> None:
    drifts = [_shown(drift) for drift in comparison.drifts]
    balance_audits.add(connection, snapshot.id, snapshot.at, comparison.outcome, comparison.coins, drifts)
    if comparison.unconfirmed:
        balance_syncs.wait_on(connection, snapshot.id, comparison.coins, drifts)
    else:
        balance_syncs.settle(connection, snapshot.id, comparison.outcome, comparison.coins, drifts)
    if comparison.unconfirmed or comparison.drifts:
        balance_syncs.look_again(connection, snapshot.id)


def _shown(drift: Difference) -> dict[str, Any]:
    return {
        "coin": drift.coin,
        "account_type": drift.account_type,
        "kind": drift.kind,
        "ledger": None if drift.ledger is None else _amounts(drift.ledger),
        "exchange": _amounts(drift.exchange),
    }


def _amounts(held: Held) -> dict[str, str | None]:
    amounts = {"wallet_balance": held.wallet_balance, "locked": held.locked}
    return {name: None if amount is None else f"{amount:f}" for name, amount in amounts.items()}


def _standing(row: Row[Any]) -> Standing:
    return Standing(row.event_timestamp, row.wallet_balance, row.locked, row.equity, row.usd_value)
