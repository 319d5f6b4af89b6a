"""Keeps the table of instruments as the exchange lists them."""

from collections.abc import Callable, Sequence
from typing import Never, Protocol

import structlog
from sqlalchemy import Engine

from common import database
from common.backoff import Backoff
from common.errors import Unavailable
from common.tables import instruments
from common.tables.instruments import Instrument
from ingestor.bybit.endpoints import CATEGORIES
from ingestor.rest.jobs.scheduler import Job

log = structlog.get_logger(__name__)

REFRESH_EVERY_S = 3600.0


class InstrumentSource(Protocol):
    def instruments(self, category: str) -> list[Instrument]: ...


class InstrumentStore(Protocol):
    def replace(self, category: str, listed: Sequence[Instrument]) -> bool:
        """Make this the category's list; whether it differs from the last one. Raises Unavailable."""


class InstrumentTable:
    """The store in PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def replace(self, category: str, listed: Sequence[Instrument]) -> bool:
        with database.retriable(), self._engine.begin() as connection:
            return instruments.replace(connection, category, listed)


class InstrumentsJob(Job[Never]):
    """At the start and every hour. A category that cannot be listed keeps its rows and does not hold up the others."""

    name = "instruments"
    min_retry_s = 1.0

    def __init__(self, source: InstrumentSource, store: InstrumentStore, changed: Callable[[str], None]) -> None:
        super().__init__(backoff=Backoff(1.0, 60.0))
        self._source = source
        self._store = store
        self._changed = changed

    def run_due(self, now: float) -> None:
        failures = [failure for category in CATEGORIES if (failure := self._refresh(category))]
        if failures:
            raise failures[0]
        self.due_at = now + REFRESH_EVERY_S

    def _refresh(self, category: str) -> Unavailable | None:
        try:
            listed = self._source.instruments(category)
            differs = self._store.replace(category, listed)
        except Unavailable as error:
            return error
        if differs:
            log.info("instruments changed", category=category, symbols=len(listed))
            self._changed(category)
        return None
