"""Requested comparisons of the wallet with the ledger.

A row waits until the ingestor has fetched the snapshot and the persister has compared it with the ledger; where the
two differ, it waits for a second snapshot, and no longer: what still differs then is settled without the row.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    case,
    delete,
    exists,
    extract,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, array, insert

from common.tables.schema import Moment, metadata

balance_syncs = Table(
    "balance_syncs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("requested_by", Text, nullable=False, comment="api, or persister for the second look at a difference"),
    Column("requested_at", Moment, nullable=False, server_default=func.now()),
    Column("trace_id", Text),
    Column("due_at", Moment, nullable=False, server_default=func.now(), comment="not to be fetched earlier"),
    Column("snapshots", ARRAY(Text), nullable=False, server_default="{}", comment="event ids of what was fetched"),
    Column("coins", Integer),
    Column("changes", JSONB, nullable=False, server_default="[]", comment="what was corrected in the ledger"),
    Column("done_at", Moment),
    Column("outcome", Text, comment="proven, drift, unconfirmed, empty or failed, once it is done"),
    Column("reason", Text, comment="why it failed"),
    Index("ix_balance_syncs_waiting", "due_at", postgresql_where=text("done_at IS NULL")),  # due requests
)

_PERSISTER = "persister"
_SECOND_SNAPSHOT_AFTER = text("interval '5.25 seconds'")
"""At least 5 s apart by the clock of the exchange; ours may be corrected meanwhile."""
_SNAPSHOTS = 2
_WAITS_FOR = text("interval '60 seconds'")
_KEPT_FOR = text("interval '7 days'")

_it = balance_syncs.c


@dataclass(frozen=True, slots=True)
class BalanceSync:
    """A comparison with the exchange; `outcome` is None until `done_at`, `snapshots` are event ids."""

    id: uuid.UUID
    requested_by: str
    requested_at: datetime
    trace_id: str | None
    due_at: datetime
    snapshots: Sequence[str]
    coins: int | None
    changes: Sequence[Any]
    done_at: datetime | None
    outcome: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class DueSync:
    """One that waits to be fetched; `due_in_s` is 0 when it is time."""

    id: uuid.UUID
    due_in_s: float
    trace_id: str | None


def request(connection: Connection, trace_id: str | None) -> uuid.UUID:
    sync = uuid.uuid4()
    connection.execute(insert(balance_syncs).values(id=sync, requested_by="api", trace_id=trace_id))
    return sync


def one(connection: Connection, id: uuid.UUID) -> BalanceSync | None:
    row = connection.execute(select(balance_syncs).where(_it.id == id)).one_or_none()
    return None if row is None else BalanceSync(**row._mapping)


def waiting(connection: Connection) -> list[DueSync]:
    """What is to be fetched, now or soon, the most urgent first; a request waits a minute at most."""
    due_in_s = func.greatest(0, extract("epoch", _it.due_at - func.now()))
    found = select(_it.id, due_in_s, _it.trace_id).where(_waits()).order_by(_it.due_at)
    return [DueSync(row[0], float(row[1]), row[2]) for row in connection.execute(found)]


def fetched(connection: Connection, ids: Sequence[uuid.UUID], event_id: str) -> None:
    """Assign the snapshot with this event id to these requests; commit before publishing it."""
    later = {"snapshots": _it.snapshots.op("||")(array([event_id])), "due_at": func.now() + _WAITS_FOR}
    connection.execute(update(balance_syncs).where(_it.id.in_(ids), _it.done_at.is_(None)).values(later))


def failed(connection: Connection, ids: Sequence[uuid.UUID], reason: str) -> None:
    """End these requests: the exchange returned no snapshot."""
    over = {"outcome": "failed", "reason": reason, "done_at": func.now()}
    connection.execute(update(balance_syncs).where(_it.id.in_(ids), _it.done_at.is_(None)).values(over))


def look_again(connection: Connection, event_id: str) -> None:
    """Another snapshot is due in 5 s, with or without a request."""
    mine = select(
        literal(uuid.uuid4(), Uuid), literal(_PERSISTER), literal(event_id), func.now() + _SECOND_SNAPSHOT_AFTER
    )
    unless = ~exists().where(_waits())
    names = ["id", "requested_by", "trace_id", "due_at"]
    connection.execute(insert(balance_syncs).from_select(names, mine.where(unless)))


def wait_on(connection: Connection, event_id: str, coins: int, changes: Sequence[Any]) -> None:
    """The snapshot has a new difference from the ledger: requests that wait for it get a second one.

    Those that had a second one already are settled with its result.
    """
    exhausted = func.cardinality(_it.snapshots) >= _SNAPSHOTS
    _settle(connection, _answered_by(event_id) & exhausted, "unconfirmed", coins, changes)
    again = {"due_at": func.now() + _SECOND_SNAPSHOT_AFTER, "changes": _with(changes)}
    connection.execute(update(balance_syncs).where(_answered_by(event_id)).values(again))


def settle(connection: Connection, event_id: str, outcome: str, coins: int, changes: Sequence[Any]) -> None:
    """The requests that wait for this snapshot are settled."""
    _settle(connection, _answered_by(event_id), outcome, coins, changes)


def prune(connection: Connection) -> None:
    connection.execute(delete(balance_syncs).where(_it.requested_at < func.now() - _KEPT_FOR))


def _settle(
    connection: Connection, which: ColumnElement[bool], outcome: str, coins: int, changes: Sequence[Any]
) -> None:
    all_changes = _with(changes)
    over = {
        "changes": all_changes,
        "coins": coins,
        "outcome": case((func.jsonb_array_length(all_changes) > 0, "drift"), else_=outcome),
        "done_at": func.now(),
    }
    connection.execute(update(balance_syncs).where(which).values(over))


def _waits() -> ColumnElement[bool]:
    return _it.done_at.is_(None) & (_it.requested_at > func.now() - _WAITS_FOR)


def _answered_by(event_id: str) -> ColumnElement[bool]:
    return _it.done_at.is_(None) & (literal(event_id) == func.any(_it.snapshots))


def _with(changes: Sequence[Any]) -> ColumnElement[Any]:
    return _it.changes.op("||")(literal(list(changes), JSONB))
