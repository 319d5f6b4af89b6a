"""Keeps a partition ready for the months ahead, and drops those that are no longer to be kept."""

import threading
from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine

from common import database
from common.errors import BadMessage, Unavailable
from common.tables import balance_syncs, partitions
from common.tables.partitions import LEDGERS, Month

log = structlog.get_logger(__name__)

_MONTHS_AHEAD = 3  # beyond this one: maintenance may fail for as long
_EVERY_S = 3600.0
_RETRY_S = 5.0


class PartitionMaintenance:
    """Runs once an hour; several persisters may run it at the same time."""

    name = "maintenance"

    def __init__(self, engine: Engine, months_kept: int, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._months_kept = months_kept
        self._now = now

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            stop.wait(_EVERY_S if self._maintain() else _RETRY_S)

    def _maintain(self) -> bool:
        """False if it is to be retried soon; the consumer already logs that PostgreSQL is unavailable."""
        this_month = Month.of(self._now())
        try:
            with database.storing():
                self._exclusively(lambda connection: _add_months(connection, this_month))
                if self._months_kept:
                    oldest = this_month.later(-self._months_kept)
                    self._exclusively(lambda connection: _drop_months(connection, oldest))
                self._exclusively(balance_syncs.prune)
        except (database.Faulty, BadMessage) as error:
            log.error("maintenance failed", error=str(error))  # the default partition takes the rows meanwhile
        except Unavailable:
            return False
        return True

    def _exclusively(self, work: Callable[[Connection], None]) -> None:
        with self._engine.begin() as connection:
            if partitions.alone(connection):
                work(connection)


def _add_months(connection: Connection, this_month: Month) -> None:
    for ledger in LEDGERS:
        existing = partitions.kept(connection, ledger.name)
        for month in (this_month.later(n) for n in range(_MONTHS_AHEAD + 1)):
            if month not in existing:
                partitions.add(connection, ledger.name, month)
                log.info("partition added", partition=month.partition_of(ledger.name))


def _drop_months(connection: Connection, oldest: Month) -> None:
    """Drop what is older; the latest balance of each coin is kept elsewhere."""
    for ledger in LEDGERS:
        for month in sorted(partitions.kept(connection, ledger.name)):
            if month < oldest:
                partitions.drop(connection, ledger.name, month)
                log.info("partition dropped", partition=month.partition_of(ledger.name))
    partitions.drop_strays(connection, oldest)
