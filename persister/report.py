"""Logs and counts what a batch wrote, once it is committed."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import Row

from common import logs
from persister import metrics
from persister.message import SNAPSHOT, BalanceEvent
from persister.reconcile import Comparison

log = structlog.get_logger(__name__)

_MAX_FIELDS_LOGGED = 1000


class Report:
    """Remembers what it has logged, so that each change is logged once."""

    def __init__(self) -> None:
        self._flagged: dict[tuple[str, str], tuple[str, ...]] = {}
        self._unknown: set[str] = set()

    def written(
        self,
        events: Sequence[BalanceEvent],
        comparisons: Iterable[tuple[BalanceEvent, Comparison]],
        added: Sequence[Row[Any]],
    ) -> None:
        """`added` are the rows that were not stored before."""
        _events(events, {row.event_id for row in added})
        for table, count in Counter(row.ledger for row in added).items():
            metrics.rows.labels(table).inc(count)
        for row in added:
            if row.anomalies or self._flagged:
                self._anomalies(row)
        for snapshot, comparison in comparisons:
            _comparison(snapshot, comparison)
        self._unknown_fields(events)

    def _unknown_fields(self, events: Iterable[BalanceEvent]) -> None:
        for event in events:
            for name in sorted(event.unknown - self._unknown) if len(self._unknown) < _MAX_FIELDS_LOGGED else ():
                log.warning("field without a column", field=name, trace_id=event.id)
                self._unknown.add(name)
        metrics.unknown_fields.set(len(self._unknown))

    def _anomalies(self, row: Row[Any]) -> None:
        """Each is counted; it is logged when the checks that a coin fails change."""
        for check in row.anomalies:
            metrics.anomalies.labels(check).inc()
        about, found = (row.account_type, row.coin), tuple(row.anomalies)
        if found == self._flagged.get(about, ()):
            return
        if not found:
            del self._flagged[about]
            return
        self._flagged[about] = found
        with logs.traced(row.event_id):
            log.warning("balance inconsistent", account_type=about[0], coin=about[1], checks=found)


def _events(events: Sequence[BalanceEvent], new: Set[str]) -> None:
    now = datetime.now(UTC)
    metrics.committed_at.set(now.timestamp())
    each_is_logged = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)
    for outcome, count in Counter(_outcome(event, new) for event in events).items():
        metrics.messages.labels(outcome).inc(count)
    for event in events:
        metrics.lag.observe(max(0.0, (now - event.received_at).total_seconds()))
        if each_is_logged:
            log.debug("balances written", trace_id=event.id, origin=event.origin, coins=event.coins)


def _outcome(event: BalanceEvent, new: Set[str]) -> str:
    if event.origin == SNAPSHOT:
        return "compared"
    if not event.accounts:
        return "ignored"  # nothing in it
    return "stored" if event.id in new else "repeated"


def _comparison(snapshot: BalanceEvent, comparison: Comparison) -> None:
    metrics.comparisons.labels(comparison.outcome).inc()
    with logs.traced(snapshot.id):
        log.debug("ledger compared", outcome=comparison.outcome, coins=comparison.coins)
        for drift in comparison.drifts:
            metrics.drifts.labels(drift.kind).inc()
            if drift.kind == "new":
                log.info("balance added from two snapshots", coin=drift.coin)  # how an empty ledger is filled
            else:
                log.warning("balance corrected by two snapshots", coin=drift.coin, kind=drift.kind)
