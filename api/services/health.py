"""Whether the gateway does its work, judged by what is fresh."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from common import topology
from common.views import observations
from common.views.subscription_status import FRESH_S

QUEUES_FRESH_S = 15.0  # the ingestor looks at them every 5 s
CONFIRMED_WITHIN_S = 2.0  # a broker that hangs says nothing, but no confirm comes any more
CONNECTED_WITHIN_S = 5.0  # a socket that is wanted for the first time is given this long

_ANOTHER_LOOK = timedelta(seconds=1)  # one alone may fall into the moment in which the persister connects

UP, IDLE, DOWN, UNKNOWN = "up", "idle", "down", "unknown"


@dataclass(frozen=True, slots=True)
class Component:
    """`reason` says in words why it is not up; `unknown` alone turns nothing red."""

    state: str
    since: datetime | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        return {"state": self.state, "since": self.since, "reason": self.reason, **self.details}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What Postgres holds at one moment, each row with its age."""

    leader: Row[Any] | None
    sockets: list[Row[Any]]
    needed: Mapping[str, datetime]
    balance_queue: Row[Any] | None
    strange_queues: list[Row[Any]]
    active_subscriptions: int
    writable: bool
    left_at: datetime | None = None


def gathered(connection: Connection) -> Evidence:
    leader = observations.leader(connection)
    return Evidence(
        leader,
        observations.sockets(connection, epoch=leader.epoch) if leader else [],
        observations.endpoints_needed(connection, longer_than_s=CONNECTED_WITHIN_S),
        observations.queue(connection, topology.BALANCE_QUEUE),
        observations.queues_with_other_arguments(connection),
        observations.active_subscriptions(connection),
        observations.writable(connection),
        observations.left_at(connection) if leader is None else None,
    )


def components(evidence: Evidence, database_since: datetime | None = None) -> dict[str, Component]:
    heard_of = evidence.leader is not None and evidence.leader.age_s < FRESH_S
    return {
        "ingestor": ingestor(evidence.leader, evidence.left_at),
        "sockets": sockets(evidence) if heard_of else _unheard(),
        "broker": broker(evidence) if heard_of else _unheard(),
        "database": database(evidence.writable, database_since),
        "persister": persister(evidence.balance_queue),
    }


def without_database(error: str, since: datetime | None) -> dict[str, Component]:
    """All that can be said when Postgres does not answer."""
    unknown = Component(UNKNOWN, reason="only the database could tell")
    parts = dict.fromkeys(("ingestor", "sockets", "broker", "persister"), unknown)
    return parts | {"database": Component(DOWN, since, error)}


def healthy(parts: Iterable[Component]) -> bool:
    return all(part.state != DOWN for part in parts)


def ingestor(leader: Row[Any] | None, left_at: datetime | None) -> Component:
    if leader is None:
        return Component(DOWN, left_at, "no ingestor leads")
    if leader.age_s >= FRESH_S:
        return Component(DOWN, leader.heartbeat_at, f"last heard of {leader.age_s:.0f} s ago")
    if leader.disk_trouble:
        return Component(DOWN, leader.disk_since, leader.disk_trouble)
    return Component(UP, leader.started_at)


def broker(evidence: Evidence) -> Component:
    """Queues that somebody made otherwise are used as they are: they are told, and turn nothing red."""
    leader = evidence.leader
    if leader is None:
        return _unheard()
    details = {"other_arguments": {queue.name: queue.reason for queue in evidence.strange_queues}}
    if (trouble := broker_trouble(leader)) is not None:
        reason, since = trouble
        return Component(DOWN, since, reason, details)
    return Component(UP, leader.broker_since, None, details)


def broker_trouble(leader: Row[Any], only: str | None = None) -> tuple[str, datetime] | None:
    """Why RabbitMQ takes no events, or none of one lane, and since when."""
    if not leader.broker_connected:
        return f"RabbitMQ takes nothing from the ingestor: {leader.broker_reason}", leader.broker_since
    lanes = [lane for name, lane in leader.lanes.items() if only in (None, name)]
    stuck = [lane for lane in lanes if lane.get("waits_s", 0) >= CONFIRMED_WITHIN_S]
    if not stuck:
        return None
    waiting = sum(lane["waiting"] for lane in stuck)
    return f"RabbitMQ confirms nothing, and {waiting} events wait", min(map(_since, stuck))


def _since(lane: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(lane["waits_since"])


def database(writable: bool, since: datetime | None) -> Component:
    return Component(UP, since) if writable else Component(DOWN, since, "it takes no writes")


def sockets(evidence: Evidence) -> Component:
    """Every endpoint that somebody needs must be live, all its sockets included."""
    needed = {*evidence.needed, *(row.endpoint for row in evidence.sockets if row.endpoint == "private")}
    seen = {each: _endpoint(each, evidence.sockets, evidence.needed.get(each)) for each in sorted(needed)}
    details = {"endpoints": {endpoint: part.shown() for endpoint, part in seen.items()}}
    if not seen:
        return Component(IDLE, details=details)
    broken = {endpoint: part for endpoint, part in seen.items() if part.state == DOWN}
    if broken:
        reason = "; ".join(f"{endpoint}: {part.reason}" for endpoint, part in broken.items())
        return Component(DOWN, _earliest(broken.values()), reason, details)
    return Component(UP, max(filter(None, (part.since for part in seen.values())), default=None), None, details)


def persister(queue: Row[Any] | None) -> Component:
    if queue is None:
        return Component(UNKNOWN, reason="its queue has not been looked at yet")
    if queue.age_s >= QUEUES_FRESH_S or queue.consumers is None:
        return Component(UNKNOWN, queue.observed_at, f"its queue was last looked at {queue.age_s:.0f} s ago")
    if queue.consumers == 0:
        since = queue.nobody_since or queue.observed_at
        if queue.observed_at - since < _ANOTHER_LOOK:
            return Component(UNKNOWN, since, "nobody read its queue when it was last looked at")
        return Component(DOWN, since, "nobody reads its queue")
    return Component(UP, queue.read_since or queue.observed_at)


def last_heartbeat_at(evidence: Evidence) -> datetime | None:
    """The exchange's newest sign of life on any socket."""
    return max((row.last_heartbeat_at for row in evidence.sockets if row.last_heartbeat_at), default=None)


def _endpoint(endpoint: str, rows: list[Row[Any]], needed_since: datetime | None) -> Component:
    mine = [row for row in rows if row.endpoint == endpoint]
    if not mine:
        return Component(DOWN, needed_since, "there is no socket")
    broken = next((row for row in mine if row.state != "live" or row.age_s >= FRESH_S), None)
    if broken is not None and _is_joining(broken) and any(row.state == "live" for row in mine):
        return _endpoint(endpoint, [row for row in mine if row is not broken], needed_since)
    if broken is None:
        return Component(UP, max(row.since for row in mine))
    if broken.age_s >= FRESH_S:
        return Component(DOWN, broken.updated_at, f"last heard of {broken.age_s:.0f} s ago")
    why = f" ({broken.last_error})" if broken.last_error else ""
    return Component(DOWN, broken.since, f"{broken.state}, attempt {broken.attempts}{why}")


def _is_joining(row: Row[Any]) -> bool:
    """A further socket, for topics that the others have no room for, connects for the first time."""
    since_s = row.age_s + (row.updated_at - row.since).total_seconds()
    return row.state in ("idle", "connecting") and row.attempts == 0 and since_s < CONNECTED_WITHIN_S


def _earliest(parts: Iterable[Component]) -> datetime | None:
    return min(filter(None, (part.since for part in parts)), default=None)


def _unheard() -> Component:
    return Component(UNKNOWN, reason="only the ingestor could tell")
