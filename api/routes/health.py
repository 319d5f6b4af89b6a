"""Whether the gateway does its work."""

from importlib.metadata import version
from typing import Any

from apiflask import APIBlueprint
from flask import Response

from api import metrics, showing
from api.http.auth import open_without_a_key
from api.schemas import Health, Live, Ready, ReadyQuery
from api.services import health, readiness
from api.services.health import Component, Evidence
from api.services.store import Store
from api.showing import answer
from common.errors import Unavailable


def routes(store: Store) -> APIBlueprint:
    blueprint = APIBlueprint("health", __name__)

    @blueprint.get("/health")
    @blueprint.output(Health)
    @blueprint.doc(responses={503: showing.also(Health, "A component is down")})
    @open_without_a_key
    def whole() -> Response:
        """Whether every part of the gateway does its work."""
        shown = judged(store)
        return answer(shown, 200 if shown["status"] == "healthy" else 503)

    @blueprint.get("/health/live")
    @blueprint.output(Live)
    @open_without_a_key
    def live() -> Response:
        """Liveness probe: this process answers."""
        return answer({"status": "live"})

    @blueprint.get("/ready")
    @blueprint.input(ReadyQuery, location="query")
    @blueprint.output(Ready)
    @blueprint.doc(
        responses={503: showing.also(Ready, "Something is missing, or the database does not answer", or_problem=True)}
    )
    @open_without_a_key
    def ready(query_data: ReadyQuery) -> Response:
        """Whether all that a service wants is live and its queues are there; what is missing is named."""
        with store.reading() as connection:
            found = readiness.missing(connection, query_data.service)
        shown = {"service": query_data.service, "ready": not found, "missing": found}
        return answer(shown, 503 if found else 200)

    @blueprint.get("/metrics")
    @blueprint.doc(hide=True)
    @open_without_a_key
    def figures() -> Response:
        """Prometheus figures of the api."""
        return metrics.exposed()

    return blueprint


def judged(store: Store) -> dict[str, Any]:
    try:
        with store.reading() as connection:
            evidence = health.gathered(connection)
    except Unavailable as error:
        return _shown(health.without_database(str(error), store.since), None)
    return _shown(health.components(evidence, store.since), evidence)


def _shown(parts: dict[str, Component], evidence: Evidence | None) -> dict[str, Any]:
    return {
        "status": "healthy" if health.healthy(parts.values()) else "unhealthy",
        "websocket_connected": parts["sockets"].state in (health.UP, health.IDLE),
        "active_subscriptions": evidence.active_subscriptions if evidence else None,
        "last_heartbeat_at": health.last_heartbeat_at(evidence) if evidence else None,
        "version": version("ws-gateway"),
        "components": {name: part.shown() for name, part in parts.items()},
    }
