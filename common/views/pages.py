"""One page of a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, func, select

from common.tables.subscriptions import subscriptions

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ResultPage(Generic[T]):
    """`items` begin after `offset` of them, at most `limit`; `total` counts all that match."""

    items: Sequence[T]
    total: int
    limit: int
    offset: int


@dataclass(frozen=True, slots=True)
class FullList(Generic[T]):
    """A list that is never paged."""

    items: Sequence[T]

    @property
    def total(self) -> int:
        return len(self.items)


def rows_and_total(connection: Connection, found: Select[Any], limit: int, offset: int) -> tuple[list[Row[Any]], int]:
    total = connection.execute(select(func.count()).select_from(found.order_by(None).subquery())).scalar_one()
    return list(connection.execute(found.limit(limit).offset(offset))), int(total)


def subscribed(service: str, endpoint: ColumnElement[str], topic: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether the service has an active subscription to this topic."""
    return subscribes(service, and_(subscriptions.c.endpoint == endpoint, subscriptions.c.topic == topic))


def subscribes(service: str, which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the service has an active subscription for which this holds."""
    return exists().where(subscriptions.c.is_active, subscriptions.c.requesting_service == service, which)
