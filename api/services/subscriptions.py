"""Subscriptions: added, renewed, replaced and ended for services, and read with their status."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from api.http.auth import acting_for, owned
from api.http.errors import ApiError, no_such, unprocessable
from api.schemas.subscriptions import SubscriptionListRequest, SubscriptionRequest
from api.services import diagnosis, observation
from api.services.diagnosis import DiagnosedSubscription
from api.services.guarded_database import GuardedDatabase
from api.services.instrument_check import InstrumentCheck
from api.services.notifier import Notifier
from api.services.observation import Observation, ObservationCache
from common.channels import Channel
from common.errors import Unavailable
from common.notifications import Notification
from common.tables import subscriptions
from common.tables.subscriptions import Caps, Counted, OverCap, SubscriptionChange
from common.views import subscription_status
from common.views.pages import ResultPage
from common.views.subscription_status import SubscriptionView

_TRIES = 20  # each fails only if another request ends the subscription between two statements


@dataclass(frozen=True, slots=True)
class ReplacedSubscriptions:
    """What replacing a service's subscriptions has changed."""

    added: Sequence[SubscriptionView]
    kept: Sequence[SubscriptionView]
    removed: Sequence[SubscriptionView]


@dataclass(frozen=True, slots=True)
class ReplacedIds:
    added: list[uuid.UUID]
    kept: list[uuid.UUID]
    removed: list[uuid.UUID]


class SubscriptionService:
    """Commits first, then notifies: a subscription that was answered is never lost."""

    def __init__(
        self, database: GuardedDatabase, notifier: Notifier, observations: ObservationCache, caps: Caps
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._observations = observations
        self._instruments = InstrumentCheck()
        self._caps = caps
        self._known = Counted(caps.in_total, 0)  # as if at the cap: the first subscription triggers a count

    def subscribe(self, request: SubscriptionRequest, trace_id: str) -> tuple[SubscriptionView, bool]:
        """The subscription, and whether it is new; requesting it again renews its lease."""
        if request.service is not None:
            acting_for(request.service)
        with self._database.changing_at_once() as connection:
            channel, service = _valid(connection, request, self._instruments)
            view, is_new = self._held_or_added(connection, channel, service, request.ttl_seconds, trace_id)
            observed = self._observed(connection, [view])
        if is_new:
            self._notify(view.generation, trace_id)
        return diagnosis.explained(view, observed), is_new

    def replace(self, request: SubscriptionListRequest, service: str, trace_id: str) -> ReplacedSubscriptions:
        """Make these the service's only subscriptions, in one step."""
        acting_for(service)
        with self._database.reading() as connection:
            channels = _all_valid(connection, request, self._instruments)
        with self._database.writing() as connection:
            ids, changes = self._replaced(connection, channels, service, request.ttl_seconds, trace_id)
        self._notify_of(changes, trace_id)
        with self._database.reading() as connection:
            found = [subscription_status.of(connection, some) for some in (ids.added, ids.kept, ids.removed)]
            observed = self._observed(connection, [view for views in found for view in views])
        return ReplacedSubscriptions(*(diagnosis.all_explained(views, observed) for views in found))

    def one(self, subscription: uuid.UUID | str) -> SubscriptionView:
        """Raises ApiError when there is none, or when it is not the caller's."""
        with self._database.reading() as connection:
            view = _owned(connection, subscription)
            observed = self._observed(connection, [view])
        return diagnosis.explained(view, observed)

    def page(
        self, filters: Mapping[str, Any], status: str | None, limit: int, offset: int
    ) -> ResultPage[SubscriptionView]:
        """Those that match, oldest first; `filters` maps columns to values."""
        with self._database.reading() as connection:
            found = subscription_status.page(connection, filters, status, limit, offset)
            observed = self._observed(connection, found.items)
        return replace(found, items=diagnosis.all_explained(found.items, observed))

    def diagnose(self, subscription: uuid.UUID) -> DiagnosedSubscription:
        """Raises ApiError when there is none, or when it is not the caller's."""
        with self._database.reading() as connection:
            view = _owned(connection, subscription)
            observed = observation.observe(connection)
            facts = diagnosis.facts_of(connection, view)
        return diagnosis.diagnosed(view, observed, facts)

    def cancel(self, subscription: uuid.UUID, trace_id: str) -> SubscriptionView:
        """One that has ended already stays as it is."""
        with self._database.changing_at_once() as connection:
            _owned(connection, subscription)
            changes = subscriptions.cancel(connection, [subscription], trace_id)
            [view] = subscription_status.of(connection, [subscription])
        self._notify_of(changes, trace_id)
        return view

    def cancel_all(self, service: str, trace_id: str) -> Sequence[SubscriptionView]:
        """Those that ended now."""
        acting_for(service)
        with self._database.changing_at_once() as connection:
            held = [each.id for each in subscriptions.held_by(connection, service)]
            changes = subscriptions.cancel(connection, held, trace_id)
            ended = subscription_status.of(connection, _ids(changes))
        self._notify_of(changes, trace_id)
        return ended

    def _observed(self, connection: Connection, views: Sequence[SubscriptionView]) -> Observation | None:
        """What explains the pending ones, None without any: it may take another read."""
        is_pending = any(view.status == "pending" for view in views)
        return self._observations.get(connection) if is_pending else None

    def _held_or_added(
        self, connection: Connection, channel: Channel, service: str, lease_s: int | None, trace_id: str
    ) -> tuple[SubscriptionView, bool]:
        """Tries again when another request ended the subscription that was held."""
        for _ in range(_TRIES):
            found = subscription_status.subscribe(
                connection, channel, service, lease_s, trace_id, self._caps, self._known
            )
            if found is None:
                with _caps_named():
                    subscriptions.check(connection, service, 1, self._caps)
                continue
            view, is_new = found
            if is_new or (view.expires_at is None and lease_s is None):
                return view, is_new
            if subscriptions.renew(connection, [uuid.UUID(view.id)], lease_s, trace_id):
                return _owned(connection, view.id), False
        raise Unavailable("this subscription is being ended and requested at the same time")

    def _replaced(
        self, connection: Connection, channels: Sequence[Channel], service: str, lease_s: int | None, trace_id: str
    ) -> tuple[ReplacedIds, list[SubscriptionChange]]:
        subscriptions.writing(connection)
        desired = {(channel.endpoint, channel.topic): channel for channel in channels}
        held = {(each.endpoint, each.topic): each for each in subscriptions.held_by(connection, service)}
        kept = [each for pair, each in held.items() if pair in desired]
        ended = [each.id for pair, each in held.items() if pair not in desired]
        removed = subscriptions.cancel(connection, ended, trace_id)
        more = [channel for pair, channel in desired.items() if pair not in held]
        added = self._add(connection, more, service, lease_s, trace_id)
        leased = [each.id for each in kept if lease_s is not None or each.expires_at is not None]
        subscriptions.renew(connection, leased, lease_s, trace_id)
        return ReplacedIds(_ids(added), [each.id for each in kept], _ids(removed)), [*removed, *added]

    def _add(
        self, connection: Connection, channels: Sequence[Channel], service: str, lease_s: int | None, trace_id: str
    ) -> list[SubscriptionChange]:
        with _caps_named():
            return subscriptions.add(connection, channels, service, lease_s, trace_id, self._caps, self._known)

    def _notify_of(self, changes: Sequence[SubscriptionChange], trace_id: str) -> None:
        if changes:
            self._notify(max(change.generation for change in changes), trace_id)

    def _notify(self, generation: int, trace_id: str) -> None:
        self._notifier.notify(Notification(generation, trace_id))
        if self._known.at_most(generation) >= self._caps.in_total:
            with suppress(Unavailable), self._database.writing() as connection:
                self._known = subscriptions.counted(connection)


def _owned(connection: Connection, subscription: uuid.UUID | str) -> SubscriptionView:
    """Raises ApiError when there is none, or when it is not the caller's."""
    found = subscription_status.one(connection, subscription)
    if found is None:
        raise no_such("subscription", subscription)
    owned(found.requesting_service, "subscription", subscription)
    return found


def _valid(connection: Connection, request: SubscriptionRequest, instruments: InstrumentCheck) -> tuple[Channel, str]:
    """Raises ApiError naming all faults, a symbol that the exchange does not list included."""
    channels = [request.channel] if request.channel else []
    faults = [*request.faults, *instruments.faults(connection, channels).values()]
    if faults or request.channel is None or request.service is None:
        raise unprocessable(faults)
    return request.channel, request.service


def _all_valid(connection: Connection, request: SubscriptionListRequest, instruments: InstrumentCheck) -> list[Channel]:
    unlisted = instruments.faults(connection, [channel for _, channel in request.channels])
    faults = list(request.faults)
    for index, channel in request.channels:
        if (fault := unlisted.get(channel)) is not None:
            faults.append(fault.within(f"subscriptions.{index}"))
    if faults:
        raise unprocessable(faults)
    return [channel for _, channel in request.channels]


@contextmanager
def _caps_named() -> Iterator[None]:
    try:
        yield
    except OverCap as error:
        of_a_service = error.cap == "of_a_service"
        code = "service_cap" if of_a_service else "total_cap"
        whose = "per service" if of_a_service else "in total"
        detail = f"maximum of {error.most} active subscriptions {whose} exceeded; end some first"
        raise ApiError(422, code, detail) from error


def _ids(changes: Sequence[SubscriptionChange]) -> list[uuid.UUID]:
    return [change.id for change in changes]
