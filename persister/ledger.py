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
from persister.message import SNAPSHOT, BalanceEvent
from persister.reconcile import Comparison, Difference, HeldAmounts, Reconciliation
from persister.report import Report
from persister.standing import Key, Standing


@dataclass(slots=True)
class LedgerState:
    """What the next batch is compared with: kept when a write succeeds, discarded when it does not."""

    standings: dict[Key, Standing] = field(default_factory=dict)
    reconciliation: Reconciliation = field(default_factory=Reconciliation)

    def copy(self) -> "LedgerState":
        return LedgerState(dict(self.standings), self.reconciliation.copy())


@dataclass(slots=True)
class PendingRows:
    """What one transaction adds."""

    coins: list[rows.Row] = field(default_factory=list)
    accounts: list[rows.Row] = field(default_factory=list)
    comparisons: list[tuple[BalanceEvent, Comparison]] = field(default_factory=list)


class Ledger:
    """Used by one thread only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None  # kept from `open` on: a batch costs one round trip
        self._state = LedgerState()
        self._report = Report()

    def open(self) -> None:
        """Read the newest balance of each coin; raises Unavailable while PostgreSQL is unavailable or not migrated."""
        if self._connection is not None:
            self._connection.invalidate()  # a session of a server that was read-only may stay read-only
        self._engine.dispose()
        with database.retriable():
            self._connection = database.single_statements(self._engine).connect()
            found = account_balances.standing(self._connection)
            self._connection.rollback()
        self._state = LedgerState({(row.coin, row.account_type): _standing(row) for row in found})

    def write(self, events: Sequence[BalanceEvent]) -> None:
        """Commit the events, oldest first; raises Unavailable, or BadMessage when PostgreSQL refuses their values."""
        state = self._state.copy()
        pending = _rows_of(events, state)
        began = time.perf_counter()
        with database.storing(), self._transaction(pending) as connection:
            added = balances.add(connection, pending.coins, pending.accounts)
            for snapshot, comparison in pending.comparisons:
                _record(connection, snapshot, comparison)
        self._state = state
        metrics.write.observe(time.perf_counter() - began)
        self._report.written(events, pending.comparisons, added)

    @contextmanager
    def _transaction(self, pending: PendingRows) -> Iterator[Connection]:
        """With comparisons, one of several statements."""
        if pending.comparisons:
            with database.transactions(self._engine).begin() as connection:
                yield connection
            return
        assert self._connection is not None, "not open"
        with self._connection.begin():
            yield self._connection


def _rows_of(events: Iterable[BalanceEvent], state: LedgerState) -> PendingRows:
    pending = PendingRows()
    for event in events:
        if event.origin == SNAPSHOT:
            _compare(event, state, pending)
            continue
        state.reconciliation.reset((coin.name, account.type) for account in event.accounts for coin in account.coins)
        pending.coins += rows.of_coins(event, state.standings)
        pending.accounts += rows.of_accounts(event)
    return pending


def _compare(snapshot: BalanceEvent, state: LedgerState, pending: PendingRows) -> None:
    comparison = state.reconciliation.compare(snapshot, state.standings)
    pending.comparisons.append((snapshot, comparison))
    pending.coins += [rows.of_drift(snapshot, drift, state.standings) for drift in comparison.drifts]
    if comparison.drifts:
        pending.accounts += rows.of_accounts(snapshot)


def _record(connection: Connection, snapshot: BalanceEvent, comparison: Comparison) -> None:
    drifts = [_as_json(drift) for drift in comparison.drifts]
    balance_audits.add(connection, snapshot.id, snapshot.at, comparison.outcome, comparison.coins, drifts)
    if comparison.unconfirmed:
        balance_syncs.wait_on(connection, snapshot.id, comparison.coins, drifts)
    else:
        balance_syncs.settle(connection, snapshot.id, comparison.outcome, comparison.coins, drifts)
    if comparison.unconfirmed or comparison.drifts:
        balance_syncs.look_again(connection, snapshot.id)


def _as_json(drift: Difference) -> dict[str, Any]:
    return {
        "coin": drift.coin,
        "account_type": drift.account_type,
        "kind": drift.kind,
        "ledger": None if drift.ledger is None else _amounts(drift.ledger),
        "exchange": _amounts(drift.exchange),
    }


def _amounts(held: HeldAmounts) -> dict[str, str | None]:
    amounts = {"wallet_balance": held.wallet_balance, "locked": held.locked}
    return {name: None if amount is None else f"{amount:f}" for name, amount in amounts.items()}


def _standing(row: Row[Any]) -> Standing:
    return Standing(row.event_timestamp, row.wallet_balance, row.locked, row.equity, row.usd_value)
