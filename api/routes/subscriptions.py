"""Who wants which topic."""

import uuid
from contextlib import suppress
from typing import Any

from apiflask import APIBlueprint
from flask import Response, g

from api import showing
from api.http.auth import acting_for, caller
from api.http.errors import unprocessable
from api.schemas import (
    Ask,
    Asked,
    Cancelled,
    Diagnosis,
    Filters,
    Preferences,
    Subscription,
    Subscriptions,
    service_faults,
)
from api.services import diagnosis, long_poll
from api.services.diagnosis import Watch
from api.services.long_poll import LongPollSlots
from api.services.store import Store
from api.services.subscriptions import SubscriptionService, owned_one
from api.showing import answer
from common.errors import Unavailable
from common.views import subscription_status

_LINKED = {
    "one": "get_subscriptions_one",
    "diagnosis": "get_subscriptions_diagnosed",
    "cancel": "delete_subscriptions_cancel",
}
_LINKS = {
    name: {"operationId": operation, "parameters": {"subscription_id": "$response.body#/id"}}
    for name, operation in _LINKED.items()
}


def routes(store: Store, intents: SubscriptionService, watch: Watch, room: LongPollSlots) -> APIBlueprint:
    blueprint = APIBlueprint("subscriptions", __name__, url_prefix="/api/v1/subscriptions")

    @blueprint.post("")
    @blueprint.input(Ask)
    @blueprint.output(Subscription, 201, links=_LINKS)
    @blueprint.input(Preferences, location="headers")
    @blueprint.doc(responses={200: showing.also(Subscription, "The service holds it already; its lease is renewed")})
    def ask(json_data: Asked, headers_data: Preferences) -> Response:
        """Ask for a topic; the same again answers with the same subscription."""
        shown, is_new = intents.ask(json_data, g.trace_id)
        headers = {"Location": f"/api/v1/subscriptions/{shown['id']}"}
        within_s = long_poll.preferred_s(headers_data.prefer)
        with suppress(Unavailable):  # the subscription is stored: that is answered whatever happens while waiting
            if within_s and (settled := room.wait(lambda: intents.one(shown["id"]), _is_settled, within_s)):
                shown = settled
                headers["Preference-Applied"] = f"wait={within_s}"
        return answer(shown, 201 if is_new else 200, headers)

    @blueprint.get("")
    @blueprint.input(Filters, location="query")
    @blueprint.output(Subscriptions)
    def listed(query_data: Filters) -> Response:
        """The subscriptions, oldest first."""
        wanted = _filters(query_data)
        with store.reading() as connection:
            rows, total = subscription_status.page(
                connection, wanted, query_data.status, query_data.limit, query_data.offset
            )
            items = showing.subscriptions(connection, rows, watch)
        return answer(showing.page(items, total, query_data))

    @blueprint.get("/<uuid:subscription_id>")
    @blueprint.output(Subscription)
    def one(subscription_id: uuid.UUID) -> Response:
        """One subscription."""
        return answer(intents.one(subscription_id))

    @blueprint.get("/<uuid:subscription_id>/diagnosis")
    @blueprint.output(Diagnosis)
    def diagnosed(subscription_id: uuid.UUID) -> Response:
        """Where the way from this subscription to its reader is broken."""
        with store.reading() as connection:
            row = owned_one(connection, subscription_id)
            seen, far_end = diagnosis.seen(connection), diagnosis.far_end(connection, row)
        return answer(showing.diagnosed(row, seen, far_end))

    @blueprint.delete("/<uuid:subscription_id>")
    @blueprint.output(Subscription)
    def cancel(subscription_id: uuid.UUID) -> Response:
        """End a subscription; one that has ended stays as it is."""
        return answer(intents.cancel(subscription_id, g.trace_id))

    @blueprint.delete("/by-service/<service>")
    @blueprint.output(Cancelled)
    def cancel_all(service: str) -> Response:
        """End all subscriptions of a service."""
        if unfit := service_faults(service):
            raise unprocessable(unfit)
        ended = intents.cancel_all(service, g.trace_id)
        return answer({"items": ended, "total": len(ended)})

    return blueprint


def _filters(query: Filters) -> dict[str, Any]:
    """What the rows are to match; a service sees its own alone."""
    wanted = query.model_dump(exclude_none=True, exclude={"limit", "offset", "status"})
    if "requesting_service" in wanted:
        acting_for(wanted["requesting_service"])
    elif (own := caller().service) is not None:
        wanted["requesting_service"] = own
    return wanted


def _is_settled(shown: dict[str, Any]) -> bool:
    return bool(shown["status"] != "pending")
