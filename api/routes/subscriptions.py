"""Subscriptions of services to topics."""

import uuid
from contextlib import suppress
from typing import Any

from apiflask import APIBlueprint
from flask import g

from api.http.auth import acting_for, caller
from api.http.errors import unprocessable
from api.http.openapi import alternative
from api.schemas.common import service_faults
from api.schemas.diagnosis import Diagnosis
from api.schemas.subscriptions import (
    Ask,
    Cancelled,
    Filters,
    Preferences,
    Subscription,
    SubscriptionRequest,
    Subscriptions,
)
from api.services import long_poll
from api.services.diagnosis import DiagnosedSubscription
from api.services.long_poll import LongPollSlots
from api.services.subscriptions import SubscriptionService
from common.errors import Unavailable
from common.views.pages import FullList, ResultPage
from common.views.subscription_status import SubscriptionView

_LINKED = {
    "one": "get_subscriptions_one",
    "diagnosis": "get_subscriptions_diagnosed",
    "cancel": "delete_subscriptions_cancel",
}
_LINKS = {
    name: {"operationId": operation, "parameters": {"subscription_id": "$response.body#/id"}}
    for name, operation in _LINKED.items()
}
_HELD = {200: alternative(Subscription, "The service is subscribed already; its lease is renewed")}


def routes(subscriptions: SubscriptionService, slots: LongPollSlots) -> APIBlueprint:
    blueprint = APIBlueprint("subscriptions", __name__, url_prefix="/api/v1/subscriptions")

    @blueprint.post("")
    @blueprint.input(Ask)
    @blueprint.output(Subscription, 201, links=_LINKS)
    @blueprint.input(Preferences, location="headers")
    @blueprint.doc(responses=_HELD, operation_id="post_subscriptions_ask")
    def subscribe(
        json_data: SubscriptionRequest, headers_data: Preferences
    ) -> tuple[SubscriptionView, int, dict[str, str]]:
        """Subscribe to a topic; repeating the request answers with the same subscription."""
        view, is_new = subscriptions.subscribe(json_data, g.trace_id)
        headers = {"Location": f"/api/v1/subscriptions/{view.id}"}
        within_s = long_poll.preferred_s(headers_data.prefer)
        with suppress(Unavailable):  # the subscription is stored: that is the answer whatever happens while waiting
            if within_s and (settled := slots.wait(lambda: subscriptions.one(view.id), _is_settled, within_s)):
                view = settled
                headers["Preference-Applied"] = f"wait={within_s}"
        return view, 201 if is_new else 200, headers

    @blueprint.get("")
    @blueprint.input(Filters, location="query")
    @blueprint.output(Subscriptions)
    def listed(query_data: Filters) -> ResultPage[SubscriptionView]:
        """The subscriptions, oldest first."""
        return subscriptions.page(_filters(query_data), query_data.status, query_data.limit, query_data.offset)

    @blueprint.get("/<uuid:subscription_id>")
    @blueprint.output(Subscription)
    def one(subscription_id: uuid.UUID) -> SubscriptionView:
        """One subscription."""
        return subscriptions.one(subscription_id)

    @blueprint.get("/<uuid:subscription_id>/diagnosis")
    @blueprint.output(Diagnosis)
    def diagnosed(subscription_id: uuid.UUID) -> DiagnosedSubscription:
        """Where the way from this subscription to its consumer is broken."""
        return subscriptions.diagnose(subscription_id)

    @blueprint.delete("/<uuid:subscription_id>")
    @blueprint.output(Subscription)
    def cancel(subscription_id: uuid.UUID) -> SubscriptionView:
        """End a subscription; one that has ended already stays as it is."""
        return subscriptions.cancel(subscription_id, g.trace_id)

    @blueprint.delete("/by-service/<service>")
    @blueprint.output(Cancelled)
    def cancel_all(service: str) -> FullList[SubscriptionView]:
        """End all subscriptions of a service."""
        if faults := service_faults(service):
            raise unprocessable(faults)
        return FullList(subscriptions.cancel_all(service, g.trace_id))

    return blueprint


def _filters(query: Filters) -> dict[str, Any]:
    """The columns that rows must match; a service sees only its own."""
    columns = query.model_dump(exclude_none=True, exclude={"limit", "offset", "status"})
    if "requesting_service" in columns:
        acting_for(columns["requesting_service"])
    elif (own := caller().service) is not None:
        columns["requesting_service"] = own
    return columns


def _is_settled(view: SubscriptionView) -> bool:
    return view.status != "pending"
