"""The keys of services, kept by the administrator."""

import secrets
import uuid
from typing import Any

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy import Row

from api import showing
from api.http.auth import administrator_only, digest
from api.http.errors import Refusal, no_such, unprocessable
from api.schemas import KeyFilters, MadeKey, NewKey, ServiceKey, ServiceKeys, service_faults
from api.services.store import Store
from api.showing import answer
from common.channels import Fault
from common.tables import api_keys

_LINKS = {"revoke": {"operationId": "delete_keys_revoke", "parameters": {"key_id": "$response.body#/id"}}}


def routes(store: Store) -> APIBlueprint:
    blueprint = APIBlueprint("keys", __name__, url_prefix="/api/v1/keys")
    blueprint.before_request(administrator_only)

    @blueprint.post("")
    @blueprint.input(NewKey)
    @blueprint.output(MadeKey, 201, links=_LINKS)
    @blueprint.doc(responses={409: {"description": "The service has as many live keys as it may have"}})
    def make(json_data: NewKey) -> Response:
        """Make a key for a service; it is shown this once."""
        if unfit := service_faults(json_data.service):
            raise unprocessable([Fault("service", fault.code, fault.message) for fault in unfit])
        key = f"wsgw_{secrets.token_urlsafe(32)}"
        with store.writing() as connection:
            row = api_keys.make(connection, json_data.service, digest(key), json_data.ttl_seconds)
        if row is None:
            detail = f"{json_data.service} has {api_keys.MOST_LIVE} live keys; revoke one first"
            raise Refusal(409, "too_many_keys", detail)
        return answer(_shown(row) | {"key": key}, 201, {"Cache-Control": "no-store"})

    @blueprint.get("")
    @blueprint.input(KeyFilters, location="query")
    @blueprint.output(ServiceKeys)
    def listed(query_data: KeyFilters) -> Response:
        """List service keys (secrets omitted), oldest first."""
        with store.reading() as connection:
            rows, total = api_keys.page(connection, query_data.service, query_data.limit, query_data.offset)
        return answer(showing.page([_shown(row) for row in rows], total, query_data))

    @blueprint.delete("/<uuid:key_id>")
    @blueprint.output(ServiceKey)
    def revoke(key_id: uuid.UUID) -> Response:
        """Revoke a key, at once and for ever."""
        with store.writing() as connection:
            row = api_keys.revoke(connection, key_id)
        if row is None:
            raise no_such("key")
        return answer(_shown(row))

    return blueprint


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row._mapping.items()}
