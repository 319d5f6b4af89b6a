"""How things are written for a caller."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from flask import Response
from pydantic import BaseModel
from sqlalchemy import Connection, Row

from api.http.errors import MIME_TYPE
from api.http.validation import REFS
from api.schemas import Page
from api.services import diagnosis
from api.services.diagnosis import FarEnd, Hop, Seen, Watch
from common import topology

_OPTIONS = orjson.OPT_UTC_Z


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(orjson.dumps(value, option=_OPTIONS), status, mimetype="application/json")
    if headers:
        response.headers.update(headers)
    return response


def also(model: type[BaseModel], description: str, or_problem: bool = False) -> dict[str, Any]:
    """A further response of the same shape, for the description of a call; or a refusal of the same status."""
    content = {"application/json": {"schema": {"$ref": REFS.format(model=model.__name__)}}}
    if or_problem:
        content[MIME_TYPE] = {"schema": {"$ref": REFS.format(model="Problem")}}
    return {"description": description, "content": content}


def subscriptions(connection: Connection, rows: Sequence[Row[Any]], watch: Watch) -> list[dict[str, Any]]:
    """With the reason of those that wait, which takes another look."""
    seen = watch.seen(connection) if any(row.status == "pending" for row in rows) else None
    return [_subscription(row, seen) for row in rows]


def diagnosed(row: Row[Any], seen: Seen, far_end: FarEnd) -> dict[str, Any]:
    way = diagnosis.hops(row, seen, far_end)
    broken = diagnosis.first_broken(way)
    return {
        "subscription": _subscription(row, seen),
        "broken": broken.hop if broken else None,
        "verdict": diagnosis.verdict(way),
        "advice": broken.advice if broken else None,
        "hops": [_hop(hop, seen) for hop in way],
    }


def page(items: Sequence[Any], total: int, asked: Page) -> dict[str, Any]:
    return {"items": items, "total": total, "limit": asked.limit, "offset": asked.offset}


def _subscription(row: Row[Any], seen: Seen | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "channel_type": row.channel_type,
        "category": row.category,
        "symbol": row.symbol,
        "topic": row.topic,
        "requesting_service": row.requesting_service,
        "is_active": row.is_active,
        "status": row.status,
        "reason": _reason(row, seen),
        "routing_key": row.routing_key,
        "queue": topology.service_queue(row.channel_type, row.requesting_service),
        "expires_at": row.expires_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "last_event_at": row.last_event_at,
    }


def _reason(row: Row[Any], seen: Seen | None) -> str | None:
    if row.status == "pending" and seen is not None:
        return diagnosis.why_pending(row, seen)
    reason: str | None = row.reason
    return reason if row.status == "rejected" else None


def _hop(hop: Hop, seen: Seen) -> dict[str, Any]:
    return {
        "hop": hop.hop,
        "state": hop.state,
        "evidence": hop.evidence,
        "since": hop.since,
        "age_s": None if hop.since is None else round(seen.age_s(hop.since), 3),
        "advice": hop.advice,
    }
