"""What a service wants, written down before anybody acts on it."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from api import listing, showing
from api.errors import no_such, unprocessable
from api.keys import acting_for, owned
from api.poking import Poker
from api.schemas import Asked
from api.store import Store
from common.channels import Channel
from common.control import Poke
from common.tables import standings, subscriptions

Shown = dict[str, Any]


class Intents:
    """Commits first, then pokes: a wish that is answered for is never lost."""

    def __init__(self, store: Store, poker: Poker) -> None:
        self._store = store
        self._poker = poker

    def ask(self, asked: Asked, trace_id: str) -> tuple[Shown, bool]:
        """The wish as it stands, and whether it is new."""
        channel, service = self._fit(asked)
        with self._store.writing() as connection:
            row, is_new = subscriptions.ask(connection, channel, service, _lease(asked.ttl_seconds), trace_id)
        if is_new:
            self._poker.poke(Poke(row.generation, trace_id))
        return self.one(row.id), is_new

    def one(self, subscription: uuid.UUID) -> Shown:
        with self._store.reading() as connection:
            return showing.subscriptions(connection, [_owned(connection, subscription)])[0]

    def cancel(self, subscription: uuid.UUID, trace_id: str) -> Shown:
        """Ended already is as good as ended now."""
        with self._store.reading() as connection:
            held = _owned(connection, subscription)
        if held.is_active:
            self._end([subscription], trace_id)
        return self.one(subscription)

    def cancel_all(self, service: str, trace_id: str) -> list[Shown]:
        acting_for(service)
        with self._store.reading() as connection:
            held = subscriptions.held_by(connection, service)
        ended = self._end(held, trace_id)
        with self._store.reading() as connection:
            return showing.subscriptions(connection, standings.of(connection, ended))

    def _fit(self, asked: Asked) -> tuple[Channel, str]:
        """Raises Refusal naming all that is wrong, what the exchange does not list included."""
        if asked.service is not None:
            acting_for(asked.service)
        faults = list(asked.faults)
        if asked.channel is not None:
            with self._store.reading() as connection:
                unlisted = listing.fault(connection, asked.channel)
            faults += [unlisted] if unlisted else []
        if faults or asked.channel is None or asked.service is None:
            raise unprocessable(faults)
        return asked.channel, asked.service

    def _end(self, ids: Sequence[uuid.UUID], trace_id: str) -> list[uuid.UUID]:
        with self._store.writing() as connection:
            ended = subscriptions.cancel(connection, ids, trace_id)
        if ended:
            self._poker.poke(Poke(max(row.generation for row in ended), trace_id))
        return [row.id for row in ended]


def _owned(connection: Connection, subscription: uuid.UUID) -> Row[Any]:
    found = standings.one(connection, subscription)
    if found is None:
        raise no_such("subscription")
    owned(found.requesting_service, "subscription")
    return found


def _lease(ttl_seconds: int | None) -> datetime | None:
    return None if ttl_seconds is None else datetime.now(UTC) + timedelta(seconds=ttl_seconds)
