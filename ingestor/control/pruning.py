"""Deletes subscriptions that ended long ago."""

import threading

import structlog
from sqlalchemy import Engine

from common import database
from common.errors import Unavailable
from common.tables import subscriptions

log = structlog.get_logger(__name__)

_EVERY_S = 3600.0
_AGAIN_AFTER_S = 60.0  # when Postgres was away
_APART_S = 0.1  # batches: a long backlog takes a fraction of what Postgres can do


class Pruning:
    """Looks once an hour, and deletes in small transactions; several ingestors may."""

    name = "pruning"

    def __init__(self, engine: Engine, every_s: float = _EVERY_S) -> None:
        self._engine = engine
        self._every_s = every_s

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            stop.wait(self._pruned_until(stop))

    def _pruned_until(self, stop: threading.Event) -> float:
        """How long to wait for the next look."""
        try:
            while self._prune_some():
                if stop.wait(_APART_S):
                    break
        except Unavailable as error:
            log.info("ended subscriptions could not be pruned", error=str(error))
            return _AGAIN_AFTER_S
        return self._every_s

    def _prune_some(self) -> bool:
        with database.retriable(), self._engine.begin() as connection:
            return subscriptions.prune(connection)
