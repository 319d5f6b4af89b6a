"""Keeps the desired state up to date with what Postgres has, reading only what changed where that is enough."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import structlog

from common import logs
from common.errors import Unavailable
from common.tables.subscriptions import DesiredSubscription
from ingestor.control.desired_state import DesiredState
from ingestor.control.subscription_store import SubscriptionSnapshot

log = structlog.get_logger(__name__)

MAX_CHANGES = 1_000  # whose queues are bound before the next ones are read: the first topics do not wait for all


class SubscriptionStore(Protocol):
    """Each method raises Unavailable."""

    def expire(self) -> None: ...

    def snapshot(self) -> AbstractContextManager[SubscriptionSnapshot]: ...


class SubscriptionReader:
    """All active subscriptions are read at the start, and whenever Postgres was unavailable or is older than we are."""

    def __init__(self, store: SubscriptionStore, desired: DesiredState) -> None:
        self.generation = 0  # the newest change that was read, ends included
        self.applied_generation = 0  # set by the user of the desired state, once it is applied
        self.complete = False  # whether the desired state holds everything that Postgres has
        self._store = store
        self._desired = desired
        self._older = 0  # the newest change of a Postgres that is older than we are, once that was read

    def read(self) -> float | None:
        """Bring the desired state up to date.

        The answer is when to read again, in seconds from now: 0 when there is more, or else the end of the next
        lease; None without one. Raises Unavailable.
        """
        try:
            self._store.expire()
            with self._store.snapshot() as snapshot:
                newest = snapshot.last_generation()
                take_over = self._read(snapshot, newest)
                lease_ends_in_s = snapshot.next_lease_ends_in_s()
        except Unavailable:
            self.complete = False  # another server may answer next time
            raise
        take_over()  # after the transaction, which may not stay idle for long
        return lease_ends_in_s if self.generation >= newest else 0.0

    def _read(self, snapshot: SubscriptionSnapshot, newest: int) -> Callable[[], None]:
        if self.complete and newest >= self.generation:
            return self._read_changes(snapshot, newest)
        if self.complete and newest == self._older:
            return _nothing
        if newest < self.generation:
            return self._read_older(snapshot, newest)
        return self._read_all(snapshot, newest)

    def _read_changes(self, snapshot: SubscriptionSnapshot, newest: int) -> Callable[[], None]:
        changed = snapshot.changed(self.generation, MAX_CHANGES)

        def take_over() -> None:
            self._desired.change(changed)
            for each in changed:
                _log_change("subscription ended" if each.ended_at else "subscription activated", each.subscription)
            more = len(changed) == MAX_CHANGES
            self.generation = changed[-1].subscription.generation if more else newest

        return take_over

    def _read_all(self, snapshot: SubscriptionSnapshot, newest: int) -> Callable[[], None]:
        """Bindings of subscriptions that ended up to the applied generation were removed by an earlier run."""
        desired, unused = snapshot.active(), snapshot.unused()
        applied = self.applied_generation or snapshot.applied_generation()
        ended = snapshot.ended(applied) if applied else []  # 0: nothing was ever bound

        def take_over() -> None:
            self._desired.ended(ended)
            self._desired.last_ends(unused)
            self._desired.replace(desired)
            self.generation = newest
            self.complete = True
            log.info("subscriptions read", subscriptions=len(desired))

        return take_over

    def _read_older(self, snapshot: SubscriptionSnapshot, newest: int) -> Callable[[], None]:
        """A restored backup, or a standby that lagged: a row that is missing there may well be active."""
        desired = snapshot.active()
        snapshot.continue_above(self.generation)  # or later changes would look like known ones

        def take_over() -> None:
            self._desired.add(desired)
            self._older = newest
            self.complete = True
            log.warning("postgres is older than the ingestor, subscriptions kept", newest=newest, known=self.generation)

        return take_over


def _nothing() -> None:
    """There is nothing new."""


def _log_change(event: str, subscription: DesiredSubscription) -> None:
    with logs.traced(subscription.trace_id):
        log.info(event, service=subscription.service, endpoint=subscription.endpoint, topic=subscription.topic)
