"""Fetches the wallet when somebody waits for it."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from sqlalchemy import Engine

from common import database
from common.channels import Channel
from common.errors import Unavailable
from common.events import Event
from common.retrying import Backoff, keep_trying
from common.tables import balance_syncs
from common.tables.balance_syncs import Sync
from ingestor.feed.event_stream import EventStream
from ingestor.rest.client import RestSnapshot
from ingestor.rest.jobs.snapshots import snapshot_event

log = structlog.get_logger(__name__)

LOOKED_AT_EVERY_S = 0.5
_TRIES = 2
_LONGEST_REASON = 200


class WalletSource(Protocol):
    def wallet(self) -> RestSnapshot: ...


class WalletSyncJob:
    """Looks for requests in the table: level-triggered, so a notification is not needed."""

    name = "syncs"

    def __init__(
        self,
        engine: Engine,
        source: WalletSource,
        line: EventStream,
        tell: Callable[[Channel, Callable[[EventStream], Event]], bool],
    ) -> None:
        self._engine = engine
        self._source = source
        self._line = line
        self._tell = tell

    def run(self, stop: threading.Event) -> None:
        keep_trying(lambda backoff: self._look_until(stop, backoff), stop, "postgres", Backoff(0.2, 5.0))

    def _look_until(self, stop: threading.Event, backoff: Backoff) -> None:
        while not stop.is_set():
            with database.retriable(), self._engine.connect() as connection:
                waiting = balance_syncs.waiting(connection)
            backoff.reset()
            due = [sync for sync in waiting if not sync.due_in_s]
            if due:
                self._answer(due)
            soonest_s = min((sync.due_in_s for sync in waiting if sync.due_in_s), default=LOOKED_AT_EVERY_S)
            stop.wait(min(soonest_s, LOOKED_AT_EVERY_S))

    def _answer(self, syncs: Sequence[Sync]) -> None:
        ids = [sync.id for sync in syncs]
        try:
            snapshot = self._fetched()
        except Unavailable as error:
            log.warning("no wallet for those who wait", waiting=len(ids), error=str(error))
            self._failed(ids, str(error)[:_LONGEST_REASON])
            return
        event_id = self._line.snapshot_id(snapshot.result, snapshot.version_ms)
        with database.retriable(), self._engine.begin() as connection:
            balance_syncs.fetched(connection, ids, event_id)
        if not self._tell(self._line.channel, snapshot_event(snapshot)):
            self._failed(ids, "the private socket is not wanted")
            return
        log.info("wallet snapshot for those who wait", waiting=len(ids), id=event_id)

    def _failed(self, ids: Sequence[object], reason: str) -> None:
        with database.retriable(), self._engine.begin() as connection:
            balance_syncs.failed(connection, ids, reason)  # type: ignore[arg-type]

    def _fetched(self) -> RestSnapshot:
        for _ in range(_TRIES - 1):
            try:
                return self._source.wallet()
            except Unavailable:
                continue
        return self._source.wallet()
