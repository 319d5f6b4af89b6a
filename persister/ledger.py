"""The balances in Postgres, written one batch at a time."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, Row

from common import database, logs
from common.tables import account_balances, balance_audits, balance_syncs, balances
from persister import figures, rows
from persister.audit import Audit, Comparison, Difference, Held, Key
from persister.checks import Standing
from persister.wallet import SNAPSHOT, Balances

log = structlog.get_logger(__name__)

_MOST_FIELDS_NAMED = 1000


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
        self._flagged: dict[tuple[str, str], tuple[str, ...]] = {}
        self._unknown: set[str] = set()

    def open(self) -> None:
        """Learn what each coin stands at; raises Unavailable while Postgres is away or not migrated yet."""
        if self._connection is not None:
            self._connection.invalidate()  # a session that met a read-only server may stay so when it no longer is
        self._engine.dispose()
        with database.storing():
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
        figures.write.observe(time.perf_counter() - began)
        self._tell(events, written, added)

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

    def _tell(self, events: Sequence[Balances], written: Written, added: Sequence[Row[Any]]) -> None:
        now = datetime.now(UTC)
        figures.committed_at.set(now.timestamp())
        for row in added:
            figures.rows.labels(row.ledger).inc()
        new = {row.event_id for row in added}
        each_is_told = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)
        for event in events:
            figures.lag.observe(max(0.0, (now - event.received_at).total_seconds()))
            figures.messages.labels(_became(event, new)).inc()
            if each_is_told:
                log.debug("balances written", trace_id=event.id, origin=event.origin, coins=event.coins)
        for snapshot, comparison in written.comparisons:
            _tell_comparison(snapshot, comparison)
        self._tell_unknown(events)
        for row in added:
            if row.anomalies or self._flagged:
                self._tell_anomalies(row)

    def _tell_unknown(self, events: Iterable[Balances]) -> None:
        for event in events:
            for name in sorted(event.unknown - self._unknown) if len(self._unknown) < _MOST_FIELDS_NAMED else ():
                log.warning("a field that no column exists for", field=name, trace_id=event.id)
                self._unknown.add(name)
        figures.unknown_fields.set(len(self._unknown))

    def _tell_anomalies(self, row: Row[Any]) -> None:
        """Each row is flagged and counted; a line is written when what is wrong with a coin changes."""
        for check in row.anomalies:
            figures.anomalies.labels(check).inc()
        about, found = (row.account_type, row.coin), tuple(row.anomalies)
        if found == self._flagged.get(about, ()):
            return
        if not found:
            del self._flagged[about]
            return
        self._flagged[about] = found
        with logs.traced(row.event_id):
            log.warning("a balance looks inconsistent", account_type=about[0], coin=about[1], checks=found)


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
        balance_syncs.look_again(connection, snapshot.id, drifts)
    else:
        balance_syncs.settle(connection, snapshot.id, comparison.outcome, comparison.coins, drifts)


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


def _tell_comparison(snapshot: Balances, comparison: Comparison) -> None:
    figures.comparisons.labels(comparison.outcome).inc()
    with logs.traced(snapshot.id):
        log.debug("ledger compared", outcome=comparison.outcome, coins=comparison.coins)
        for drift in comparison.drifts:
            figures.drifts.labels(drift.kind).inc()
            level = logging.INFO if drift.kind == "new" else logging.WARNING  # how a fresh ledger begins
            log.log(level, "balance corrected by two snapshots", coin=drift.coin, kind=drift.kind)


def _became(event: Balances, new: Set[str]) -> str:
    if event.origin == SNAPSHOT:
        return "compared"
    return "stored" if event.id in new else "repeated"


def _standing(row: Row[Any]) -> Standing:
    return Standing(row.event_timestamp, row.wallet_balance, row.locked, row.equity, row.usd_value)
