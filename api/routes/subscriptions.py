"""Who wants which topic."""

import uuid

from apiflask import APIBlueprint
from flask import Response, g

from api.intents import Intents
from api.keys import acting_for, caller
from api.schemas import Ask, Asked, Cancelled, Filters, Subscription, Subscriptions
from api.showing import answer, page, subscription
from api.store import Store
from common.tables import standings


def routes(store: Store, intents: Intents) -> APIBlueprint:
    blueprint = APIBlueprint("subscriptions", __name__, url_prefix="/api/v1/subscriptions")

    @blueprint.post("")
    @blueprint.input(Ask)
    @blueprint.output(Subscription, 201)
    def ask(json_data: Asked) -> Response:
        """Ask for a topic."""
        row, is_new = intents.ask(json_data, g.trace_id)
        where = {"Location": f"/api/v1/subscriptions/{row.id}"}
        return answer(subscription(row), 201 if is_new else 200, where)

    @blueprint.get("")
    @blueprint.input(Filters, location="query")
    @blueprint.output(Subscriptions)
    def listed(query_data: Filters) -> Response:
        """The subscriptions, oldest first."""
        wanted = query_data.model_dump(exclude_none=True, exclude={"limit", "offset", "status"})
        if "requesting_service" in wanted:
            acting_for(wanted["requesting_service"])
        elif (own := caller().service) is not None:
            wanted["requesting_service"] = own
        with store.reading() as connection:
            rows, total = standings.page(connection, wanted, query_data.status, query_data.limit, query_data.offset)
        return answer(page(rows, total, query_data.limit, query_data.offset))

    @blueprint.get("/<uuid:subscription_id>")
    @blueprint.output(Subscription)
    def one(subscription_id: uuid.UUID) -> Response:
        """One subscription."""
        return answer(subscription(intents.one(subscription_id)))

    @blueprint.delete("/<uuid:subscription_id>")
    @blueprint.output(Subscription)
    def cancel(subscription_id: uuid.UUID) -> Response:
        """End a subscription."""
        return answer(subscription(intents.cancel(subscription_id, g.trace_id)))

    @blueprint.delete("/by-service/<service>")
    @blueprint.output(Cancelled)
    def cancel_all(service: str) -> Response:
        """End all subscriptions of a service."""
        ended = intents.cancel_all(service, g.trace_id)
        return answer({"items": [subscription(row) for row in ended], "total": len(ended)})

    return blueprint
