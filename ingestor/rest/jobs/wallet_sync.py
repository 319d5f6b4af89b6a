"""Fetches the wallet where a comparison with the exchange was requested."""

from collections.abc import Sequence
from typing import Never, Protocol
from uuid import UUID

import structlog
from sqlalchemy import Engine

from common import database
from common.backoff import Backoff
from common.errors import Unavailable
from common.tables import balance_syncs
from common.tables.balance_syncs import DueSync
from ingestor.feed.event_stream import EventStream
from ingestor.rest.client import RestSnapshot
from ingestor.rest.http import RateLimited
from ingestor.rest.jobs.scheduler import Job
from ingestor.rest.jobs.snapshots import Publish, snapshot_event

log = structlog.get_logger(__name__)

POLL_EVERY_S = 0.5
_TRIES = 2
_LONGEST_REASON = 200


class WalletSource(Protocol):
    def wallet(self) -> RestSnapshot: ...


class SyncRequests(Protocol):
    """Requests for a snapshot. Every method raises Unavailable while they cannot be reached."""

    def waiting(self) -> list[DueSync]:
        """What is to be fetched now or soon."""

    def fetched(self, ids: Sequence[UUID], event_id: str) -> None:
        """Name the snapshot that answers these: before it is published."""

    def failed(self, ids: Sequence[UUID], reason: str) -> None:
        """Complete these without a snapshot."""


class SyncTable:
    """The requests in PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def waiting(self) -> list[DueSync]:
        with database.retriable(), self._engine.connect() as connection:
            return balance_syncs.waiting(connection)

    def fetched(self, ids: Sequence[UUID], event_id: str) -> None:
        with database.retriable(), self._engine.begin() as connection:
            balance_syncs.fetched(connection, ids, event_id)

    def failed(self, ids: Sequence[UUID], reason: str) -> None:
        with database.retriable(), self._engine.begin() as connection:
            balance_syncs.failed(connection, ids, reason)


class WalletSyncJob(Job[Never]):
    """Polls for requests twice a second: level-triggered, so a notification is not needed."""

    name = "wallet sync"

    def __init__(self, syncs: SyncRequests, source: WalletSource, stream: EventStream, publish: Publish) -> None:
        super().__init__(backoff=Backoff(0.2, 5.0))
        self._syncs = syncs
        self._source = source
        self._stream = stream
        self._publish = publish

    def run_due(self, now: float) -> None:
        waiting = self._syncs.waiting()
        due = [sync for sync in waiting if not sync.due_in_s]
        if due:
            self._answer(due)
        soonest_s = min((sync.due_in_s for sync in waiting if sync.due_in_s), default=POLL_EVERY_S)
        self.due_at = now + min(soonest_s, POLL_EVERY_S)

    def _answer(self, syncs: Sequence[DueSync]) -> None:
        ids = [sync.id for sync in syncs]
        try:
            snapshot = self._fetch()
        except Unavailable as error:
            log.warning("wallet sync failed", waiting=len(ids), error=str(error))
            self._syncs.failed(ids, str(error)[:_LONGEST_REASON])
            return
        event_id = self._stream.snapshot_id(snapshot.result, snapshot.version_ms)
        self._syncs.fetched(ids, event_id)
        if not self._publish(self._stream.channel, snapshot_event(snapshot)):
            self._syncs.failed(ids, "the private connection is not subscribed")
            return
        log.info("wallet sync published", waiting=len(ids), id=event_id)

    def _fetch(self) -> RestSnapshot:
        for _ in range(_TRIES - 1):
            try:
                return self._source.wallet()
            except RateLimited:
                raise
            except Unavailable:
                continue
        return self._source.wallet()
