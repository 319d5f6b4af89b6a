"""What a service wants, written down before anybody acts on it."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from api import showing
from api.http.auth import acting_for, owned
from api.http.errors import Refusal, no_such, unprocessable
from api.schemas import Asked, AskedList
from api.services.diagnosis import Watch
from api.services.instrument_check import InstrumentCheck
from api.services.notifier import Notifier
from api.services.store import Store
from common.channels import Channel
from common.errors import Unavailable
from common.notifications import Notification
from common.tables import subscriptions
from common.tables.subscriptions import Caps, Counted, OverCap, SubscriptionChange
from common.views import subscription_status

Shown = dict[str, Any]
_TRIES = 20  # each needs somebody else's end to come between two statements


@dataclass(frozen=True, slots=True)
class Replaced:
    added: list[uuid.UUID]
    kept: list[uuid.UUID]
    removed: list[uuid.UUID]


class SubscriptionService:
    """Commits first, then notifications: a subscription that is answered for is never lost."""

    def __init__(self, store: Store, notifier: Notifier, watch: Watch, caps: Caps) -> None:
        self._store = store
        self._notifier = notifier
        self._watch = watch
        self._listing = InstrumentCheck()
        self._caps = caps
        self._known = Counted(caps.in_total, 0)  # as if full: the first subscription makes us count

    def ask(self, asked: Asked, trace_id: str) -> tuple[Shown, bool]:
        """The subscription as it stands, and whether it is new; asking again renews its lease."""
        if asked.service is not None:
            acting_for(asked.service)
        with self._store.changing_at_once() as connection:
            channel, service = _fit(connection, asked, self._listing)
            row, is_new = self._held_or_added(connection, channel, service, asked.ttl_seconds, trace_id)
            shown = showing.subscriptions(connection, [row], self._watch)[0]
        if is_new:
            self._tell(row.generation, trace_id)
        return shown, is_new

    def replace(self, asked: AskedList, service: str, trace_id: str) -> dict[str, list[Shown]]:
        """Make this all that the service wants, in one step."""
        acting_for(service)
        with self._store.reading() as connection:
            channels = _all_fit(connection, asked, self._listing)
        with self._store.writing() as connection:
            done, changes = self._replaced(connection, channels, service, asked.ttl_seconds, trace_id)
        self._tell_of(changes, trace_id)
        with self._store.reading() as connection:
            return {
                what: showing.subscriptions(
                    connection, subscription_status.of(connection, getattr(done, what)), self._watch
                )
                for what in Replaced.__slots__
            }

    def one(self, subscription: uuid.UUID | str) -> Shown:
        with self._store.reading() as connection:
            return showing.subscriptions(connection, [owned_one(connection, subscription)], self._watch)[0]

    def cancel(self, subscription: uuid.UUID, trace_id: str) -> Shown:
        """Ended already is as good as ended now."""
        with self._store.changing_at_once() as connection:
            owned_one(connection, subscription)
            changes = subscriptions.cancel(connection, [subscription], trace_id)
            shown = showing.subscriptions(connection, subscription_status.of(connection, [subscription]), self._watch)[
                0
            ]
        self._tell_of(changes, trace_id)
        return shown

    def cancel_all(self, service: str, trace_id: str) -> list[Shown]:
        acting_for(service)
        with self._store.changing_at_once() as connection:
            held = [row.id for row in subscriptions.held_by(connection, service)]
            changes = subscriptions.cancel(connection, held, trace_id)
            ended = showing.subscriptions(
                connection, subscription_status.of(connection, [each.id for each in changes]), self._watch
            )
        self._tell_of(changes, trace_id)
        return ended

    def _held_or_added(
        self, connection: Connection, channel: Channel, service: str, lease_s: int | None, trace_id: str
    ) -> tuple[Row[Any], bool]:
        """Looks again when what was held ended under our hands."""
        for _ in range(_TRIES):
            row = subscription_status.ask(connection, channel, service, lease_s, trace_id, self._caps, self._known)
            if row is None:
                with _caps_named():
                    subscriptions.check(connection, service, 1, self._caps)
                continue
            if row.is_new or (row.expires_at is None and lease_s is None):
                return row, row.is_new
            if subscriptions.renew(connection, [uuid.UUID(row.id)], lease_s, trace_id):
                return owned_one(connection, row.id), False
        raise Unavailable("this subscription is being ended and asked for at the same time")

    def _replaced(
        self, connection: Connection, channels: Sequence[Channel], service: str, lease_s: int | None, trace_id: str
    ) -> tuple[Replaced, list[SubscriptionChange]]:
        subscriptions.writing(connection)
        wanted = {(channel.endpoint, channel.topic): channel for channel in channels}
        held = {(row.endpoint, row.topic): row for row in subscriptions.held_by(connection, service)}
        kept = [row for pair, row in held.items() if pair in wanted]
        removed = subscriptions.cancel(
            connection, [row.id for pair, row in held.items() if pair not in wanted], trace_id
        )
        more = [channel for pair, channel in wanted.items() if pair not in held]
        added = self._add(connection, more, service, lease_s, trace_id)
        leased = [row.id for row in kept if lease_s is not None or row.expires_at is not None]
        subscriptions.renew(connection, leased, lease_s, trace_id)
        return Replaced(_ids(added), [row.id for row in kept], _ids(removed)), [*removed, *added]

    def _add(
        self, connection: Connection, channels: Sequence[Channel], service: str, lease_s: int | None, trace_id: str
    ) -> list[SubscriptionChange]:
        with _caps_named():
            return subscriptions.add(connection, channels, service, lease_s, trace_id, self._caps, self._known)

    def _tell_of(self, changes: Sequence[SubscriptionChange], trace_id: str) -> None:
        if changes:
            self._tell(max(change.generation for change in changes), trace_id)

    def _tell(self, generation: int, trace_id: str) -> None:
        self._notifier.notify(Notification(generation, trace_id))
        if self._known.at_most(generation) >= self._caps.in_total:
            with suppress(Unavailable), self._store.writing() as connection:
                self._known = subscriptions.counted(connection)


def owned_one(connection: Connection, subscription: uuid.UUID | str) -> Row[Any]:
    """Raises Refusal when there is none, or when it is not the caller's."""
    found = subscription_status.one(connection, subscription)
    if found is None:
        raise no_such("subscription")
    owned(found.requesting_service, "subscription")
    return found


def _fit(connection: Connection, asked: Asked, listing: InstrumentCheck) -> tuple[Channel, str]:
    """Raises Refusal naming all that is wrong, what the exchange does not list included."""
    channels = [asked.channel] if asked.channel else []
    faults = [*asked.faults, *listing.faults(connection, channels).values()]
    if faults or asked.channel is None or asked.service is None:
        raise unprocessable(faults)
    return asked.channel, asked.service


def _all_fit(connection: Connection, asked: AskedList, listing: InstrumentCheck) -> list[Channel]:
    unlisted = listing.faults(connection, [channel for _, channel in asked.channels])
    faults = list(asked.faults)
    for place, channel in asked.channels:
        if (fault := unlisted.get(channel)) is not None:
            faults.append(fault.within(f"subscriptions.{place}"))
    if faults:
        raise unprocessable(faults)
    return [channel for _, channel in asked.channels]


@contextmanager
def _caps_named() -> Iterator[None]:
    try:
        yield
    except OverCap as error:
        whose = "a service" if error.cap == "of_a_service" else "all services together"
        code = "service_cap" if error.cap == "of_a_service" else "total_cap"
        detail = f"{whose} may hold at most {error.most} subscriptions; end some first"
        raise Refusal(422, code, detail) from error


def _ids(changes: Sequence[SubscriptionChange]) -> list[uuid.UUID]:
    return [change.id for change in changes]
