"""Whether the gateway does its work, judged by what is fresh."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import version

from sqlalchemy import Connection

from api.services.guarded_database import GuardedDatabase
from common import topology
from common.errors import Unavailable
from common.views import connections, ingestors, queues
from common.views.connections import ConnectionView
from common.views.ingestors import IngestorView
from common.views.queues import QueueView

CONFIRMED_WITHIN_S = 2.0  # a broker that hangs still accepts events, but confirms none
CONNECTED_WITHIN_S = 5.0  # how long a connection may take that is needed for the first time

_ANOTHER_LOOK = timedelta(seconds=1)  # a single measurement may fall into the moment in which the persister connects

UP = "up"
IDLE = "idle"
DOWN = "down"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Component:
    """`reason` says why it is not up; `unknown` alone makes nothing unhealthy."""

    state: str
    since: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectionsComponent(Component):
    endpoints: Mapping[str, Component] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrokerComponent(Component):
    """`other_arguments`: queues whose arguments differ from the settings, each with how to replace it."""

    other_arguments: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BrokerTrouble:
    """Why RabbitMQ takes no events, and since when."""

    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """What Postgres holds at one moment; `needed` maps endpoints to when they were first subscribed to."""

    leader: IngestorView | None
    connections: Sequence[ConnectionView]
    needed: Mapping[str, datetime]
    balance_queue: QueueView | None
    other_queues: Sequence[QueueView]
    active_subscriptions: int
    writable: bool
    left_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HealthReport:
    status: str
    websocket_connected: bool
    active_subscriptions: int | None
    last_heartbeat_at: datetime | None
    components: Mapping[str, Component]
    version: str = version("ws-gateway")


def report(database: GuardedDatabase) -> HealthReport:
    """Never raises: an unavailable database is reported."""
    try:
        with database.reading() as connection:
            evidence = gathered(connection)
    except Unavailable as error:
        return _report(without_database(str(error), database.since), None)
    return _report(components(evidence, database.since), evidence)


def gathered(connection: Connection) -> Evidence:
    leader = ingestors.leader(connection)
    return Evidence(
        leader,
        connections.of_epoch(connection, leader.epoch) if leader else [],
        ingestors.endpoints_needed(connection, longer_than_s=CONNECTED_WITHIN_S),
        queues.one(connection, topology.BALANCE_QUEUE),
        queues.with_other_arguments(connection),
        ingestors.active_subscriptions(connection),
        ingestors.writable(connection),
        ingestors.left_at(connection) if leader is None else None,
    )


def components(evidence: Evidence, database_since: datetime | None = None) -> dict[str, Component]:
    reports = evidence.leader is not None and evidence.leader.fresh
    return {
        "ingestor": _ingestor(evidence.leader, evidence.left_at),
        "sockets": connected(evidence) if reports else _unreported(),
        "broker": _broker(evidence) if reports else _unreported(),
        "database": _database(database_since, writable=evidence.writable),
        "persister": _persister(evidence.balance_queue),
    }


def without_database(error: str, since: datetime | None) -> dict[str, Component]:
    """All that is known while Postgres is unavailable."""
    unknown = Component(UNKNOWN, reason="unknown while the database is unavailable")
    parts = dict.fromkeys(("ingestor", "sockets", "broker", "persister"), unknown)
    return parts | {"database": Component(DOWN, since, error)}


def healthy(parts: Iterable[Component]) -> bool:
    return all(part.state != DOWN for part in parts)


def connected(evidence: Evidence) -> Component:
    """Every endpoint that is needed must be live, with all its connections."""
    needed = {*evidence.needed, *(each.endpoint for each in evidence.connections if each.endpoint == "private")}
    parts = {each: _endpoint(each, evidence.connections, evidence.needed.get(each)) for each in sorted(needed)}
    if not parts:
        return ConnectionsComponent(IDLE)
    broken = {endpoint: part for endpoint, part in parts.items() if part.state == DOWN}
    if broken:
        reason = "; ".join(f"{endpoint}: {part.reason}" for endpoint, part in broken.items())
        return ConnectionsComponent(DOWN, _earliest(broken.values()), reason, parts)
    since = max(filter(None, (part.since for part in parts.values())), default=None)
    return ConnectionsComponent(UP, since, None, parts)


def broker_trouble(leader: IngestorView, only: str | None = None) -> BrokerTrouble | None:
    """Why RabbitMQ takes no events, of all lanes or of one; None when it does."""
    if not leader.broker_connected:
        return BrokerTrouble(f"RabbitMQ accepts no events: {leader.broker_reason}", leader.broker_since)
    lanes = [lane for name, lane in leader.lanes.items() if only in (None, name)]
    stuck = [lane for lane in lanes if lane.waits_s >= CONFIRMED_WITHIN_S and lane.waits_since is not None]
    if not stuck:
        return None
    waiting = sum(lane.waiting for lane in stuck)
    since = min(lane.waits_since for lane in stuck if lane.waits_since is not None)
    return BrokerTrouble(f"RabbitMQ confirms nothing; {waiting} events are waiting", since)


def last_heartbeat_at(evidence: Evidence) -> datetime | None:
    """The exchange's newest heartbeat on any connection."""
    return max((each.last_heartbeat_at for each in evidence.connections if each.last_heartbeat_at), default=None)


def _report(parts: Mapping[str, Component], evidence: Evidence | None) -> HealthReport:
    return HealthReport(
        status="healthy" if healthy(parts.values()) else "unhealthy",
        websocket_connected=parts["sockets"].state in (UP, IDLE),
        active_subscriptions=evidence.active_subscriptions if evidence else None,
        last_heartbeat_at=last_heartbeat_at(evidence) if evidence else None,
        components=parts,
    )


def _ingestor(leader: IngestorView | None, left_at: datetime | None) -> Component:
    if leader is None:
        return Component(DOWN, left_at, "no ingestor is running")
    if not leader.fresh:
        return Component(DOWN, leader.heartbeat_at, f"the last heartbeat is {leader.age_s:.0f} s old")
    if leader.disk_trouble:
        return Component(DOWN, leader.disk_since, leader.disk_trouble)
    return Component(UP, leader.started_at)


def _broker(evidence: Evidence) -> Component:
    """Queues with other arguments are used as they are: they are listed, and make nothing unhealthy."""
    leader = evidence.leader
    if leader is None:
        return _unreported()
    others = {queue.name: queue.reason for queue in evidence.other_queues}
    if (trouble := broker_trouble(leader)) is not None:
        return BrokerComponent(DOWN, trouble.since, trouble.reason, others)
    return BrokerComponent(UP, leader.broker_since, None, others)


def _database(since: datetime | None, *, writable: bool) -> Component:
    return Component(UP, since) if writable else Component(DOWN, since, "it is read-only")


def _persister(queue: QueueView | None) -> Component:
    if queue is None:
        return Component(UNKNOWN, reason="its queue has not been measured yet")
    if queue.stale or queue.consumers is None:
        return Component(UNKNOWN, queue.observed_at, f"its queue was last measured {queue.age_s:.0f} s ago")
    if queue.consumers == 0:
        since = queue.unread_since or queue.observed_at
        if queue.observed_at - since < _ANOTHER_LOOK:
            return Component(UNKNOWN, since, "its queue had no consumer when it was last measured")
        return Component(DOWN, since, "its queue has no consumer")
    return Component(UP, queue.read_since or queue.observed_at)


def _endpoint(endpoint: str, held: Sequence[ConnectionView], needed_since: datetime | None) -> Component:
    mine = [each for each in held if each.endpoint == endpoint]
    if not mine:
        return Component(DOWN, needed_since, "there is no connection")
    broken = next((each for each in mine if each.state != "live" or each.stale), None)
    if broken is None:
        return Component(UP, max(each.since for each in mine))
    if _is_joining(broken) and any(each.state == "live" for each in mine):
        return _endpoint(endpoint, [each for each in mine if each is not broken], needed_since)
    if broken.stale:
        return Component(DOWN, broken.observed_at, f"the last report is {broken.age_s:.0f} s old")
    why = f" ({broken.last_error})" if broken.last_error else ""
    attempt = f", attempt {broken.attempts}" if broken.attempts else ""
    return Component(DOWN, broken.since, f"{broken.state}{attempt}{why}")


def _is_joining(held: ConnectionView) -> bool:
    """A further connection, for topics that do not fit on the others, connects for the first time."""
    since_s = held.age_s + (held.observed_at - held.since).total_seconds()
    return held.state in ("idle", "connecting") and held.attempts == 0 and since_s < CONNECTED_WITHIN_S


def _earliest(parts: Iterable[Component]) -> datetime | None:
    return min(filter(None, (part.since for part in parts)), default=None)


def _unreported() -> Component:
    return Component(UNKNOWN, reason="unknown while the ingestor does not report")
