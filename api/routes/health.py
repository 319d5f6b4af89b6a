"""Health, liveness and readiness of the gateway, and the metrics of the api."""

from dataclasses import dataclass

from apiflask import APIBlueprint
from flask import Response

from api import metrics
from api.http.auth import open_without_a_key
from api.http.openapi import alternative
from api.schemas.health import Health, Live, Ready, ReadyQuery
from api.services import health, readiness
from api.services.guarded_database import GuardedDatabase
from api.services.health import HealthReport
from api.services.readiness import ServiceReadiness


@dataclass(frozen=True, slots=True)
class Liveness:
    status: str = "live"


def routes(database: GuardedDatabase) -> APIBlueprint:
    blueprint = APIBlueprint("health", __name__)

    @blueprint.get("/health")
    @blueprint.output(Health)
    @blueprint.doc(responses={503: alternative(Health, "A component is down")})
    @open_without_a_key
    def whole() -> tuple[HealthReport, int]:
        """Whether every component of the gateway does its work."""
        report = health.report(database)
        return report, 200 if report.status == "healthy" else 503

    @blueprint.get("/health/live")
    @blueprint.output(Live)
    @open_without_a_key
    def live() -> Liveness:
        """Liveness probe: this process answers."""
        return Liveness()

    @blueprint.get("/ready")
    @blueprint.input(ReadyQuery, location="query")
    @blueprint.output(Ready)
    @blueprint.doc(
        responses={503: alternative(Ready, "Something is missing, or the database is unavailable", or_problem=True)}
    )
    @open_without_a_key
    def ready(query_data: ReadyQuery) -> tuple[ServiceReadiness, int]:
        """Whether all subscriptions of a service are live and its queues exist; what is missing is listed."""
        with database.reading() as connection:
            found = readiness.of(connection, query_data.service)
        return found, 200 if found.ready else 503

    @blueprint.get("/metrics")
    @blueprint.doc(hide=True)
    @open_without_a_key
    def exposed_metrics() -> Response:
        """Prometheus metrics of the api."""
        return metrics.exposed()

    return blueprint
