"""Keeps the table of instruments as the exchange lists them."""

import threading
from collections.abc import Callable
from typing import Protocol

import structlog
from sqlalchemy import Engine

from common import database
from common.errors import Unavailable
from common.retrying import Backoff
from common.tables import instruments
from common.tables.instruments import Instrument
from ingestor.rest.client import CATEGORIES

log = structlog.get_logger(__name__)

LOOKED_UP_EVERY_S = 3600.0


class InstrumentSource(Protocol):
    def instruments(self, category: str) -> list[Instrument]: ...


class InstrumentsJob:
    """At the start, every hour, and soon again after a failure; a failed look changes nothing."""

    name = "listing"

    def __init__(self, source: InstrumentSource, engine: Engine, changed: Callable[[str], None]) -> None:
        self._source = source
        self._engine = engine
        self._changed = changed

    def run(self, stop: threading.Event) -> None:
        backoff, told = Backoff(1.0, 60.0), False
        while not stop.is_set():
            failures = [failure for category in CATEGORIES if (failure := self._look_up(category))]
            if failures and not told:
                log.warning("instruments could not be looked up; trying again", error=failures[0])
            told = bool(failures)
            if not failures:
                backoff.reset()
            stop.wait(backoff.next_s() + 1.0 if failures else LOOKED_UP_EVERY_S)

    def _look_up(self, category: str) -> str | None:
        try:
            listed = self._source.instruments(category)
            with database.retriable(), self._engine.begin() as connection:
                differs = instruments.replace(connection, category, listed)
        except Unavailable as error:
            return f"{category}: {error}"
        if differs:
            log.info("instruments looked up", category=category, symbols=len(listed))
            self._changed(category)
        return None
