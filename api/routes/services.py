"""All subscriptions of a service at once."""

from apiflask import APIBlueprint
from flask import g

from api.http.errors import unprocessable
from api.schemas.common import service_faults
from api.schemas.subscriptions import AskList, Replaced, SubscriptionListRequest
from api.services.subscriptions import ReplacedSubscriptions, SubscriptionService


def routes(subscriptions: SubscriptionService) -> APIBlueprint:
    blueprint = APIBlueprint("services", __name__, url_prefix="/api/v1/services")

    @blueprint.put("/<service>/subscriptions")
    @blueprint.input(AskList)
    @blueprint.output(Replaced)
    def replace(service: str, json_data: SubscriptionListRequest) -> ReplacedSubscriptions:
        """Replace all subscriptions of a service in one step."""
        if faults := service_faults(service):
            raise unprocessable([*faults, *json_data.faults])
        return subscriptions.replace(json_data, service, g.trace_id)

    return blueprint
