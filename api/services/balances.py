"""Balances as they are or were, and comparisons of the ledger with the exchange."""

import base64
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from api.http.errors import ApiError, no_such
from api.services.guarded_database import GuardedDatabase
from api.services.long_poll import LongPollSlots
from api.services.notifier import Notifier
from common.notifications import Notification
from common.tables import balance_syncs
from common.tables.balance_syncs import BalanceSync
from common.views import balances
from common.views.balances import BalanceView, MarginView, Span

SYNC_WAIT_S = 9.5  # the second snapshot after a difference comes 5 s after the first


@dataclass(frozen=True, slots=True)
class BalancePage:
    """One page of coins, and the totals of each account."""

    items: Sequence[BalanceView]
    accounts: Sequence[MarginView]
    total: int
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """`total` is None in a page by cursor; `next_cursor` leads to the next page, None after the last one."""

    items: Sequence[BalanceView]
    total: int | None
    limit: int
    offset: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """A comparison with the exchange; `outcome` is pending until `done_at`."""

    id: uuid.UUID
    outcome: str
    coins: int | None
    changes: Sequence[Any]
    requested_at: datetime
    done_at: datetime | None


def known_at(connection: Connection, moment: datetime | None, coin: str | None, limit: int, offset: int) -> BalancePage:
    """The balances as of a moment; None: the latest."""
    if moment is None:
        page = balances.latest(connection, coin, limit, offset)
        total = balances.latest_count(connection, coin)
        return BalancePage(page, balances.latest_margins(connection), total, limit, offset)
    found = balances.known_at(connection, moment, coin)
    margins = balances.margins_known_at(connection, moment)
    return BalancePage(found[offset : offset + limit], margins, len(found), limit, offset)


def history(connection: Connection, span: Span, limit: int, offset: int) -> HistoryPage:
    found = balances.history(connection, span, limit + 1, offset)
    total = balances.history_count(connection, span) if span.before is None else None
    last = found[limit - 1] if len(found) > limit else None
    return HistoryPage(found[:limit], total, limit, offset, cursor_after(last) if last else None)


def cursor_after(last: BalanceView) -> str:
    """The cursor of a page that begins after this row."""
    text = f"{last.event_timestamp.astimezone(UTC).isoformat()}/{last.id}"
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii")


class BalanceSyncs:
    """Requests comparisons and waits for them: up to `wait_s`, as long as a slot is free."""

    def __init__(
        self, database: GuardedDatabase, notifier: Notifier, slots: LongPollSlots, wait_s: float = SYNC_WAIT_S
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._slots = slots
        self._wait_s = wait_s

    def request(self, trace_id: str) -> SyncStatus:
        """Raises ApiError when the exchange gives no snapshot."""
        with self._database.writing() as connection:
            sync_id = balance_syncs.request(connection, trace_id)
        self._notifier.notify(Notification(0, trace_id))
        poll = partial(self._read, sync_id)
        return _status(self._slots.wait(poll, _is_done, self._wait_s) or poll())

    def one(self, sync_id: uuid.UUID) -> SyncStatus:
        """Raises ApiError when there is none, or the exchange gave no snapshot."""
        return _status(self._read(sync_id))

    def _read(self, sync_id: uuid.UUID) -> BalanceSync:
        with self._database.reading() as connection:
            found = balance_syncs.one(connection, sync_id)
        if found is None:
            raise no_such("sync", sync_id)
        return found


def _is_done(sync: BalanceSync) -> bool:
    return sync.done_at is not None


def _status(sync: BalanceSync) -> SyncStatus:
    if sync.outcome == "failed":
        detail = f"the exchange returned no snapshot: {sync.reason}; try again"
        raise ApiError(502, "exchange_failed", detail)
    return SyncStatus(sync.id, sync.outcome or "pending", sync.coins, sync.changes, sync.requested_at, sync.done_at)
