"""All that a service wants, in one piece."""

from apiflask import APIBlueprint
from flask import Response, g

from api.http.errors import unprocessable
from api.schemas import AskedList, AskList, Replaced, service_faults
from api.services.subscriptions import SubscriptionService
from api.showing import answer


def routes(intents: SubscriptionService) -> APIBlueprint:
    blueprint = APIBlueprint("services", __name__, url_prefix="/api/v1/services")

    @blueprint.put("/<service>/subscriptions")
    @blueprint.input(AskList)
    @blueprint.output(Replaced)
    def replace(service: str, json_data: AskedList) -> Response:
        """Replace all that a service wants, in one step."""
        if unfit := service_faults(service):
            raise unprocessable([*unfit, *json_data.faults])
        return answer(intents.replace(json_data, service, g.trace_id))

    return blueprint
