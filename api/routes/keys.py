"""The keys of services, managed by the administrator."""

import uuid

from apiflask import APIBlueprint

from api.http.auth import administrator_only
from api.http.errors import unprocessable
from api.schemas.common import service_faults
from api.schemas.keys import KeyFilters, MadeKey, NewKey, ServiceKey, ServiceKeys
from api.services import keys
from api.services.guarded_database import GuardedDatabase
from api.services.keys import IssuedKey
from common.channels import Fault
from common.tables.api_keys import ApiKey
from common.views.pages import ResultPage

_LINKS = {"revoke": {"operationId": "delete_keys_revoke", "parameters": {"key_id": "$response.body#/id"}}}


def routes(database: GuardedDatabase) -> APIBlueprint:
    blueprint = APIBlueprint("keys", __name__, url_prefix="/api/v1/keys")
    blueprint.before_request(administrator_only)

    @blueprint.post("")
    @blueprint.input(NewKey)
    @blueprint.output(MadeKey, 201, links=_LINKS)
    @blueprint.doc(responses={409: {"description": "The service has the maximum of live keys"}})
    def make(json_data: NewKey) -> tuple[IssuedKey, int, dict[str, str]]:
        """Issue a key for a service; it is shown only in this answer."""
        if faults := service_faults(json_data.service):
            raise unprocessable([Fault("service", fault.code, fault.message) for fault in faults])
        issued = keys.issue(database, json_data.service, json_data.ttl_seconds)
        return issued, 201, {"Cache-Control": "no-store"}

    @blueprint.get("")
    @blueprint.input(KeyFilters, location="query")
    @blueprint.output(ServiceKeys)
    def listed(query_data: KeyFilters) -> ResultPage[ApiKey]:
        """List service keys (secrets omitted), oldest first."""
        return keys.page(database, query_data.service, query_data.limit, query_data.offset)

    @blueprint.delete("/<uuid:key_id>")
    @blueprint.output(ServiceKey)
    def revoke(key_id: uuid.UUID) -> ApiKey:
        """Revoke a key, effective immediately and permanently."""
        return keys.revoke(database, key_id)

    return blueprint
