"""Deletes subscriptions that ended long ago."""

import threading

import structlog
from sqlalchemy import Engine

from common import database
from common.errors import Unavailable
from common.tables import subscriptions

log = structlog.get_logger(__name__)

_EVERY_S = 3600.0
_RETRY_S = 60.0  # after Postgres was unavailable
_PAUSE_S = 0.1  # between batches: a long backlog takes a fraction of what Postgres can do


class Pruning:
    """Checks once an hour and deletes in small transactions; several ingestors may do so at once."""

    name = "pruning"

    def __init__(self, engine: Engine, every_s: float = _EVERY_S) -> None:
        self._engine = engine
        self._every_s = every_s

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            stop.wait(self._pruned_until(stop))

    def _pruned_until(self, stop: threading.Event) -> float:
        """Seconds until the next check."""
        try:
            while self._prune_some():
                if stop.wait(_PAUSE_S):
                    break
        except Unavailable as error:
            log.info("pruning failed", error=str(error))
            return _RETRY_S
        return self._every_s

    def _prune_some(self) -> bool:
        with database.retriable(), self._engine.begin() as connection:
            return subscriptions.prune(connection)
