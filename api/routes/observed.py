"""What the ingestor sees: topics, sockets, queues and gaps."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy import Row

from api.http.auth import caller
from api.schemas import GapFilters, Page, SeenGaps, SeenQueues, SeenSockets, SeenTopics
from api.services.health import QUEUES_FRESH_S
from api.services.store import Store
from api.showing import answer, page
from common.views import observations
from common.views.subscription_status import FRESH_S


def routes(store: Store) -> APIBlueprint:
    blueprint = APIBlueprint("observed", __name__, url_prefix="/api/v1")

    @blueprint.get("/topics")
    @blueprint.input(Page, location="query")
    @blueprint.output(SeenTopics)
    def topics(query_data: Page) -> Response:
        """The topics that the gateway holds; a service sees those it asked for."""
        with store.reading() as connection:
            rows, total = observations.page_of_topics(connection, caller().service, query_data.limit, query_data.offset)
        return answer(page([_topic(row) for row in rows], total, query_data))

    @blueprint.get("/connections")
    @blueprint.output(SeenSockets)
    def connections() -> Response:
        """The sockets to the exchange; a service sees those that carry something of its own."""
        with store.reading() as connection:
            rows = observations.sockets(connection, service=caller().service)
        return answer({"items": [_socket(row) for row in rows], "total": len(rows)})

    @blueprint.get("/queues")
    @blueprint.input(Page, location="query")
    @blueprint.output(SeenQueues)
    def queues(query_data: Page) -> Response:
        """The queues and how full they are; a service sees its own."""
        with store.reading() as connection:
            rows, total = observations.page_of_queues(connection, caller().service, query_data.limit, query_data.offset)
        return answer(page([_queue(row) for row in rows], total, query_data))

    @blueprint.get("/gaps")
    @blueprint.input(GapFilters, location="query")
    @blueprint.output(SeenGaps)
    def gaps(query_data: GapFilters) -> Response:
        """The windows in which something may have been missed, newest first; a service sees those of its topics."""
        with store.reading() as connection:
            rows, total = observations.page_of_gaps(
                connection, caller().service, query_data.open, query_data.limit, query_data.offset
            )
        return answer(page([_gap(row) for row in rows], total, query_data))

    return blueprint


def _topic(row: Row[Any]) -> dict[str, Any]:
    return {
        "endpoint": row.endpoint,
        "topic": row.topic,
        "channel_type": row.channel_type,
        "state": row.state,
        "reason": row.reason,
        "services": row.services,
        "acked_at": row.acked_at,
        "last_event_at": row.last_event_at,
        "last_event_age_s": _rounded(row.last_event_age_s),
        "events": row.events,
        "events_per_s": _rounded(row.rate),
        "observed_at": row.observed_at,
        "stale": row.age_s >= FRESH_S,
    }


def _socket(row: Row[Any]) -> dict[str, Any]:
    return {
        "endpoint": row.endpoint,
        "socket_no": row.socket_no,
        "state": row.state,
        "since": row.since,
        "attempts": row.attempts,
        "last_error": row.last_error,
        "rtt_ms": row.rtt_ms,
        "clock_offset_ms": row.clock_offset_ms,
        "last_heartbeat_at": row.last_heartbeat_at,
        "epoch": row.epoch,
        "observed_at": row.updated_at,
        "stale": row.age_s >= FRESH_S,
    }


def _queue(row: Row[Any]) -> dict[str, Any]:
    return {
        "name": row.name,
        "event_class": row._mapping["class"],
        "service": row.service,
        "ready": row.ready,
        "consumers": row.consumers,
        "publish_rate": row.publish_rate,
        "net_rate": row.net_rate,
        "consume_rate": row.consume_rate,
        "oldest_at": row.oldest_at,
        "unused_since": row.unused_since,
        "alarm": row.alarm,
        "reason": row.reason,
        "observed_at": row.observed_at,
        "stale": row.age_s >= QUEUES_FRESH_S,
    }


def _gap(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "endpoint": row.endpoint,
        "topic": row.topic,
        "opened": row.opened,
        "closed": row.closed,
        "cause": row.cause,
        "last_id": row.ids.get("last_id"),
        "first_id": row.ids.get("first_id"),
        "healed": row.healed,
    }


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(float(figure), 3)
