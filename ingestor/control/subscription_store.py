"""The subscriptions in Postgres, as the reconciler reads them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

import structlog
from sqlalchemy import Connection, Engine

from common import database
from common.tables import ingestors, subscriptions
from common.tables.subscriptions import Changed, DesiredSubscription

log = structlog.get_logger(__name__)


class SubscriptionSnapshot(Protocol):
    """All of Postgres at one moment. A generation is the number of a change, ends included; they only rise."""

    def last_generation(self) -> int: ...

    def changed(self, after_generation: int, at_most: int) -> Sequence[Changed]:
        """The first rows that were added or ended after this generation, in the sequence of their last change."""

    def active(self) -> Sequence[DesiredSubscription]: ...

    def unused(self) -> Sequence[tuple[str, str, datetime]]:
        """(service, channel type, end of the last subscription that ended)."""

    def ended(self, after_generation: int) -> Sequence[tuple[str, str, str]]:
        """(service, endpoint, topic) of the subscriptions that ended after this generation."""

    def applied_generation(self) -> int:
        """The newest generation that any ingestor has applied; 0 before the first."""

    def continue_above(self, generation: int) -> None:
        """The next change gets a generation above this one."""

    def next_lease_ends_in_s(self) -> float | None:
        """None without a lease."""


class PostgresSnapshot:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def last_generation(self) -> int:
        return subscriptions.last_generation(self._connection)

    def changed(self, after_generation: int, at_most: int) -> Sequence[Changed]:
        return subscriptions.changed(self._connection, after_generation, at_most)

    def active(self) -> Sequence[DesiredSubscription]:
        return subscriptions.active(self._connection)

    def unused(self) -> Sequence[tuple[str, str, datetime]]:
        return subscriptions.unused(self._connection)

    def ended(self, after_generation: int) -> Sequence[tuple[str, str, str]]:
        return subscriptions.ended(self._connection, after_generation)

    def applied_generation(self) -> int:
        return ingestors.carried_out(self._connection)

    def continue_above(self, generation: int) -> None:
        subscriptions.continue_above(self._connection, generation)

    def next_lease_ends_in_s(self) -> float | None:
        return subscriptions.next_lease_ends_in_s(self._connection)


class PostgresSubscriptions:
    """Each method raises Unavailable for any error of the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def expire(self) -> None:
        """End the subscriptions whose lease is over."""
        with database.retriable(), self._engine.begin() as connection:
            for row in subscriptions.expire(connection):
                log.info("subscription expired", service=row.requesting_service, topic=row.topic)

    @contextmanager
    def snapshot(self) -> Iterator[SubscriptionSnapshot]:
        """Read in one transaction, which must be short."""
        with database.retriable(), self._engine.connect() as connection:
            yield PostgresSnapshot(connection.execution_options(isolation_level="REPEATABLE READ"))
