"""Prometheus metrics of all gunicorn workers together."""

import os
import time
from functools import cache

from flask import Flask, Response, g, request
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from common.metrics import PREFIX

REQUESTS = Counter(f"{PREFIX}_api_requests", "Answered requests.", ["method", "route", "status"])
DURATION = Histogram(
    f"{PREFIX}_api_request_seconds",
    "Time from the request's first line read to its answer.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
NOTIFICATIONS = Counter(f"{PREFIX}_api_notifications", "Notifications to the ingestor, by outcome.", ["outcome"])


def register(app: Flask) -> None:
    app.after_request(_count)


def exposed() -> Response:
    """Under gunicorn the metrics of all workers are added up; a single process shows its own."""
    registry: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _count(response: Response) -> Response:
    rule = request.url_rule
    requests, duration = _of(request.method if rule else "any", rule.rule if rule else "none", response.status_code)
    requests.inc()
    duration.observe(time.perf_counter() - g.began_at)
    return response


@cache
def _of(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Cached: there are few of them, and looking one up takes as long as counting."""
    return REQUESTS.labels(method, route, status), DURATION.labels(route)
