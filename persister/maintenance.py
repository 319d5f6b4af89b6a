"""The thread that sees to it that the ledger has room ahead and keeps no more than it is to keep."""

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

_AHEAD = 3  # months with a partition beyond this one: so long may nobody look after it
_EVERY_S = 3600.0
_SOON_S = 5.0


class PartitionMaintenance:
    """Looks once an hour; several persisters may."""

    name = "upkeep"

    def __init__(self, engine: Engine, months_kept: int, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._months_kept = months_kept
        self._now = now

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            stop.wait(_EVERY_S if self._look_after() else _SOON_S)

    def _look_after(self) -> bool:
        """Whether that is over for now; a Postgres that is away is the consumer's to tell of."""
        this_month = Month.of(self._now())
        try:
            with database.storing():
                self._alone(lambda connection: _make_room(connection, this_month))
                if self._months_kept:
                    oldest = this_month.later(-self._months_kept)
                    self._alone(lambda connection: _let_go(connection, oldest))
                self._alone(balance_syncs.prune)
        except (database.Faulty, BadMessage) as error:
            log.error("upkeep failed", error=str(error))  # the default partition takes what comes meanwhile
        except Unavailable:
            return False
        return True

    def _alone(self, work: Callable[[Connection], None]) -> None:
        with self._engine.begin() as connection:
            if partitions.alone(connection):
                work(connection)


def _make_room(connection: Connection, this_month: Month) -> None:
    for ledger in LEDGERS:
        there = partitions.kept(connection, ledger.name)
        for month in (this_month.later(n) for n in range(_AHEAD + 1)):
            if month not in there:
                partitions.add(connection, ledger.name, month)
                log.info("month added", partition=month.partition_of(ledger.name))


def _let_go(connection: Connection, oldest: Month) -> None:
    """Drop what is older; what each coin stands at stays known."""
    for ledger in LEDGERS:
        for month in sorted(partitions.kept(connection, ledger.name)):
            if month < oldest:
                partitions.drop(connection, ledger.name, month)
                log.info("month dropped", partition=month.partition_of(ledger.name))
    partitions.drop_strays(connection, oldest)
