"""Whether a service may count on its events, and what is missing if not."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from api.services import diagnosis
from api.services.diagnosis import BROKEN, UNKNOWN, Seen
from common import topology
from common.views import observations, subscription_status


@dataclass(frozen=True, slots=True)
class Missing:
    what: str
    name: str
    reason: str


def missing(connection: Connection, service: str) -> list[Missing]:
    """Nothing, for a service that wants nothing."""
    rows = subscription_status.active_of(connection, service)
    seen = diagnosis.seen(connection)
    queues = {queue.name: queue for queue in observations.queues_of(connection, service)}
    return [*_not_live(rows, seen), *_not_there(rows, seen, queues)]


def _not_live(rows: list[Row[Any]], seen: Seen) -> list[Missing]:
    waiting = [row for row in rows if row.status != "live"]
    return [Missing("subscription", row.topic, _reason(row, seen)) for row in waiting]


def _reason(row: Row[Any], seen: Seen) -> str:
    if row.status == "rejected":
        return f"rejected: {row.reason or 'without a word'}"
    return diagnosis.why_pending(row, seen) or "pending"


def _not_there(rows: list[Row[Any]], seen: Seen, queues: dict[str, Row[Any]]) -> list[Missing]:
    eldest = {topology.service_queue(row.channel_type, row.requesting_service): row for row in reversed(rows)}
    looks = {name: diagnosis.queue_hop(row, seen, queues.get(name)) for name, row in eldest.items()}
    return [Missing("queue", name, hop.evidence) for name, hop in looks.items() if hop.state in (BROKEN, UNKNOWN)]
