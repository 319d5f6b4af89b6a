"""How things are written for a caller."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from flask import Response
from sqlalchemy import Row

from common import topology

_OPTIONS = orjson.OPT_UTC_Z


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(orjson.dumps(value, option=_OPTIONS), status, mimetype="application/json")
    if headers:
        response.headers.update(headers)
    return response


def subscription(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "channel_type": row.channel_type,
        "category": row.category,
        "symbol": row.symbol,
        "topic": row.topic,
        "requesting_service": row.requesting_service,
        "is_active": row.is_active,
        "status": row.status,
        "reason": row.reason if row.status in ("pending", "rejected") else None,
        "routing_key": row.routing_key,
        "queue": topology.service_queue(row.channel_type, row.requesting_service),
        "expires_at": row.expires_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "last_event_at": row.last_event_at,
    }


def page(rows: Sequence[Row[Any]], total: int, limit: int, offset: int) -> dict[str, Any]:
    return {"items": [subscription(row) for row in rows], "total": total, "limit": limit, "offset": offset}
