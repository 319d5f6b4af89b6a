"""Who wants which topic."""
# mypy: allow-untyped-decorators

import uuid
from typing import Any

from apiflask import APIBlueprint
from flask import Response, g

from api import showing
from api.intents import Intents
from api.keys import acting_for, caller
from api.schemas import Ask, Asked, Cancelled, Filters, Subscription, Subscriptions
from api.showing import answer
from api.store import Store
from common.tables import standings


def routes(store: Store, intents: Intents) -> APIBlueprint:
    blueprint = APIBlueprint("subscriptions", __name__, url_prefix="/api/v1/subscriptions")

    @blueprint.post("")
    @blueprint.input(Ask)
    @blueprint.output(Subscription, 201)
    def ask(json_data: Asked) -> Response:
        """Ask for a topic."""
        shown, is_new = intents.ask(json_data, g.trace_id)
        where = {"Location": f"/api/v1/subscriptions/{shown['id']}"}
        return answer(shown, 201 if is_new else 200, where)

    @blueprint.get("")
    @blueprint.input(Filters, location="query")
    @blueprint.output(Subscriptions)
    def listed(query_data: Filters) -> Response:
        """The subscriptions, oldest first."""
        wanted = _filters(query_data)
        with store.reading() as connection:
            rows, total = standings.page(connection, wanted, query_data.status, query_data.limit, query_data.offset)
            items = showing.subscriptions(connection, rows)
        return answer(showing.page(items, total, query_data))

    @blueprint.get("/<uuid:subscription_id>")
    @blueprint.output(Subscription)
    def one(subscription_id: uuid.UUID) -> Response:
        """One subscription."""
        return answer(intents.one(subscription_id))

    @blueprint.delete("/<uuid:subscription_id>")
    @blueprint.output(Subscription)
    def cancel(subscription_id: uuid.UUID) -> Response:
        """End a subscription; one that has ended stays as it is."""
        return answer(intents.cancel(subscription_id, g.trace_id))

    @blueprint.delete("/by-service/<service>")
    @blueprint.output(Cancelled)
    def cancel_all(service: str) -> Response:
        """End all subscriptions of a service."""
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
