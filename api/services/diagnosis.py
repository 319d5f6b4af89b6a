"""Where the way from a subscription to its reader is broken."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from api.services.health import QUEUES_FRESH_S, broker_trouble
from common import topology
from common.channels import POOLED
from common.tables import instruments
from common.views import observations
from common.views.subscription_status import FRESH_S

OK, BROKEN, WAITING, QUIET, UNKNOWN = "ok", "broken", "waiting", "quiet", "unknown"
CARRIED_OUT_WITHIN_S = 5.0
_QUIET_AFTER_S = 60.0
_UNREAD_S = 60.0
_DISK_ADVICE = "make room in WS_GATEWAY_SPOOL_DIR, on a disk that takes writes"
_FROM_BROKER = "cannot be told while RabbitMQ is away"


@dataclass(frozen=True, slots=True)
class Hop:
    """`evidence` says what is the case, `since` when it was, `advice` what a person can do about it."""

    hop: str
    state: str
    evidence: str
    since: datetime | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the ingestor has written down of itself, as of `now`."""

    now: datetime
    leader: Row[Any] | None
    sockets: Sequence[Row[Any]]

    def age_s(self, moment: datetime) -> float:
        return (self.now - moment).total_seconds()

    def broker_answers(self, row: Row[Any]) -> bool:
        return self.fresh is not None and broker_trouble(self.fresh, _lane(row)) is None

    @property
    def fresh(self) -> Row[Any] | None:
        """The leading ingestor, as long as it is heard of."""
        return self.leader if self.leader is not None and self.leader.age_s < FRESH_S else None


@dataclass(frozen=True, slots=True)
class FarEnd:
    """What is known of the way behind the exchange."""

    queue: Row[Any] | None
    gap: Row[Any] | None
    delisted: bool = False


def seen(connection: Connection) -> Seen:
    leader = observations.leader(connection)
    sockets = observations.sockets(connection, epoch=leader.epoch) if leader else []
    return Seen(observations.clock(connection), leader, sockets)


class Watch:
    """The ingestor's own words, at most a moment old: they explain what waits, they decide nothing."""

    def __init__(self, fresh_for_s: float = 0.25, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh_for_s = fresh_for_s
        self._clock = clock
        self._last: tuple[float, Seen] | None = None
        self._looking = threading.Lock()

    def seen(self, connection: Connection) -> Seen:
        """One request at a time looks again; the others make do with the last look."""
        last = self._last
        if last is not None and self._clock() - last[0] < self._fresh_for_s:
            return last[1]
        if not self._looking.acquire(blocking=last is None):
            return last[1] if last else seen(connection)
        try:
            self._last = (self._clock(), seen(connection))
            return self._last[1]
        finally:
            self._looking.release()


def far_end(connection: Connection, row: Row[Any]) -> FarEnd:
    return FarEnd(
        observations.queue(connection, topology.service_queue(row.channel_type, row.requesting_service)),
        observations.open_gap(connection, row.endpoint, row.topic),
        _delisted(connection, row),
    )


def _delisted(connection: Connection, row: Row[Any]) -> bool:
    """The exchange lists others in this category, but not this one."""
    if row.symbol is None or row.channel_type in POOLED:
        return False
    by_coin = instruments.goes_by_coin(row.channel_type, row.category)
    if instruments.listed(connection, row.category, [row.symbol], by_base_coin=by_coin):
        return False
    return instruments.newest(connection, row.category) is not None


def hops(row: Row[Any], seen: Seen, far: FarEnd) -> list[Hop]:
    """The whole way, in the order in which a subscription and then an event travel it."""
    return [
        _intent(row),
        _reconciled(row, seen),
        _socket(row, seen),
        _ack(row, seen),
        _last_frame(row, seen, far),
        _last_publish(row, seen),
        _binding(row, seen),
        queue_hop(row, seen, far.queue),
        _consumer(row, seen, far.queue),
    ]


def first_broken(way: Iterable[Hop]) -> Hop | None:
    return next((hop for hop in way if hop.state in (BROKEN, WAITING)), None)


def verdict(way: Sequence[Hop]) -> str:
    """In one sentence; all is well only where every hop says so."""
    if (broken := first_broken(way)) is not None:
        return broken.evidence
    if (untold := next((hop for hop in way if hop.state == UNKNOWN), None)) is not None:
        return f"nothing is known to be broken, but {untold.hop} is unknown: {untold.evidence}"
    quiet = next((hop for hop in way if hop.state == QUIET), None)
    return quiet.evidence if quiet else "events reach their reader"


def why_pending(row: Row[Any], seen: Seen) -> str | None:
    """What a subscription waits for, in words."""
    questions = (_reconciled, _socket, _ack, _last_publish, _binding)
    broken = first_broken(question(row, seen) for question in questions)
    return broken.evidence if broken else None


def _intent(row: Row[Any]) -> Hop:
    if row.is_active:
        return Hop("intent", OK, f"{row.requesting_service} asked for {row.topic}", row.created_at)
    how = "its lease ran out" if row.ended == "expired" else "it was cancelled"
    again = "ask for it again: POST /api/v1/subscriptions"
    return Hop("intent", BROKEN, f"nobody wants it any more: {how}", row.updated_at, again)


def _reconciled(row: Row[Any], seen: Seen) -> Hop:
    name, leader = "reconciled", seen.leader
    if leader is None:
        return Hop(name, BROKEN, "no ingestor leads", advice="start it: supervisorctl start gateway:ingestor")
    if seen.fresh is None:
        words = f"the ingestor was last heard of {leader.age_s:.0f} s ago"
        return Hop(name, BROKEN, words, leader.heartbeat_at, "restart it: supervisorctl restart gateway:ingestor")
    words = f"the ingestor has carried out generation {leader.generation}, this is {row.generation}"
    if leader.generation >= row.generation or _held(row, seen):
        return Hop(name, OK, words, leader.heartbeat_at)
    if _is_young(row, seen):
        trouble = broker_trouble(seen.fresh, _lane(row))
        why = f"; {trouble[0]}" if trouble else ""
        return Hop(name, WAITING, f"waiting for the ingestor{why}", row.created_at)
    advice = "look for this subscription's trace id in the ingestor's log"
    return Hop(name, BROKEN, f"the ingestor does not come to it: {words}", row.created_at, advice)


def _socket(row: Row[Any], seen: Seen) -> Hop:
    if seen.fresh is None:
        return _untold("socket")
    mine = [socket for socket in seen.sockets if socket.endpoint == row.endpoint]
    if not mine:
        return _no_socket(row, seen)
    if row.endpoint == "private" and seen.fresh.disk_trouble:
        words = f"the private socket is not read, because its events cannot be made safe: {seen.fresh.disk_trouble}"
        return Hop("socket", BROKEN, words, seen.fresh.disk_since, _DISK_ADVICE)
    lost = next((socket for socket in mine if socket.state != "live"), None)
    if lost is None:
        return Hop("socket", OK, f"the socket {row.endpoint} is live", max(socket.since for socket in mine))
    why = f": {lost.last_error}" if lost.last_error else ""
    words = f"the socket {row.endpoint} is {lost.state}, attempt {lost.attempts}{why}"
    return Hop("socket", BROKEN, words, lost.since, _socket_advice(lost.state))


def _no_socket(row: Row[Any], seen: Seen) -> Hop:
    words = f"there is no socket {row.endpoint}"
    if _is_young(row, seen):
        return Hop("socket", WAITING, f"{words} yet", row.created_at)
    if row.endpoint != "private":
        return Hop("socket", BROKEN, words, row.created_at, "see the ingestor's log")
    advice = "give the gateway BYBIT_API_KEY and BYBIT_API_SECRET: without them there is public data only"
    return Hop("socket", BROKEN, words, row.created_at, advice)


def _socket_advice(state: str) -> str:
    if state == "parked":
        return "correct BYBIT_API_KEY and BYBIT_API_SECRET, then: supervisorctl signal HUP gateway:ingestor"
    return "it tries again by itself; if it goes on, see whether the exchange can be reached from this machine"


def _ack(row: Row[Any], seen: Seen) -> Hop:
    if seen.fresh is None:
        return _untold("ack")
    if not _held(row, seen):
        return Hop("ack", WAITING, "the exchange has not been asked for it yet", row.created_at)
    if row.topic_state == "rejected":
        words = f"the exchange refuses {row.topic}: {row.reason or 'without a word'}"
        advice = f"end this subscription and ask for what is listed in {row.category}"
        return Hop("ack", BROKEN, words, row.topic_updated_at, advice)
    if row.topic_state != "live":
        return Hop("ack", WAITING, f"the exchange has not acknowledged {row.topic} yet", row.topic_updated_at)
    return Hop("ack", OK, f"the exchange acknowledged {row.topic}", row.acked_at)


def _last_frame(row: Row[Any], seen: Seen, far: FarEnd) -> Hop:
    name = "last_frame"
    if far.gap is not None:
        advice = "it closes with the first event after the cause is gone"
        return Hop(name, BROKEN, f"the topic may be missing data: {far.gap.cause}", far.gap.opened, advice)
    age_s = None if row.last_event_at is None else seen.age_s(row.last_event_at)
    words = "no event has come yet" if age_s is None else f"the last event came {age_s:.0f} s ago"
    if age_s is not None and age_s < _QUIET_AFTER_S:
        return Hop(name, OK, words, row.last_event_at)
    if far.delisted:
        advice = f"end this subscription and ask for what is listed in {row.category}"
        return Hop(name, BROKEN, f"{words}; {row.symbol} is not listed in {row.category}", row.last_event_at, advice)
    return Hop(name, QUIET, f"{words}; a quiet market sends none", row.last_event_at)


def _last_publish(row: Row[Any], seen: Seen) -> Hop:
    name, leader = "last_publish", seen.fresh
    if leader is None:
        return _untold(name)
    if (trouble := broker_trouble(leader, _lane(row))) is not None:
        reason, since = trouble
        advice = "start RabbitMQ: supervisorctl start gateway:rabbitmq; if it runs, rabbitmqctl status names its alarms"
        return Hop(name, BROKEN, f"{reason}; what comes is kept in the spool", since, advice)
    if leader.disk_trouble:
        return Hop(name, BROKEN, leader.disk_trouble, leader.disk_since, _DISK_ADVICE)
    lane = leader.lanes.get(_lane(row), {})
    at = _moment(lane.get("confirmed_at"))  # of all events that share the topic's lane to RabbitMQ
    if at is None:
        return Hop(name, OK, "RabbitMQ has had nothing to confirm yet")
    return Hop(name, OK, f"RabbitMQ confirmed an event {max(0.0, seen.age_s(at)):.0f} s ago", at)


def _lane(row: Row[Any]) -> str:
    """Private events and market data go to RabbitMQ on a connection each."""
    return "private" if row.endpoint == "private" else "market"


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _binding(row: Row[Any], seen: Seen) -> Hop:
    if seen.fresh is None:
        return _untold("binding")
    if not seen.broker_answers(row):
        return Hop("binding", UNKNOWN, _FROM_BROKER)
    if seen.fresh.generation >= row.generation:
        return Hop("binding", OK, f"the queue is bound to {row.routing_key}", seen.fresh.heartbeat_at)
    if _is_young(row, seen) or seen.age_s(seen.fresh.broker_since) < CARRIED_OUT_WITHIN_S:
        return Hop("binding", WAITING, "its queue is not bound yet", row.created_at)
    advice = "see the ingestor's log for what RabbitMQ refused"
    return Hop("binding", BROKEN, "its queue is not bound", row.created_at, advice)


def queue_hop(row: Row[Any], seen: Seen, queue: Row[Any] | None) -> Hop:
    name = topology.service_queue(row.channel_type, row.requesting_service)
    advice = "the ingestor makes it anew within seconds; if it does not, see its log"
    if seen.fresh is None:
        return _untold("queue")
    if not seen.broker_answers(row):
        return Hop("queue", UNKNOWN, _FROM_BROKER)
    if queue is None and seen.age_s(row.created_at) < QUEUES_FRESH_S:
        made = seen.fresh.generation >= row.generation
        words = f"{name} was made, and has not been looked at yet" if made else f"{name} is not made yet"
        return Hop("queue", OK if made else WAITING, words, row.created_at)
    if queue is None:
        return Hop("queue", BROKEN, f"there is no queue {name}", advice=advice)
    if queue.age_s >= QUEUES_FRESH_S or queue.ready is None:
        return Hop("queue", BROKEN, f"{name} was last seen {queue.age_s:.0f} s ago", queue.observed_at, advice)
    worry = f" ({queue.alarm}: {queue.reason})" if queue.alarm else ""
    return Hop("queue", OK, f"{queue.ready} events wait in {name}{worry}", queue.observed_at)


def _consumer(row: Row[Any], seen: Seen, queue: Row[Any] | None) -> Hop:
    service = row.requesting_service
    if seen.fresh is None:
        return _untold("consumer")
    if not seen.broker_answers(row):
        return Hop("consumer", UNKNOWN, _FROM_BROKER)
    if queue is None or queue.age_s >= QUEUES_FRESH_S or queue.consumers is None:
        return Hop("consumer", UNKNOWN, "only a look at the queue could tell")
    if not queue.consumers:
        advice = f"start {service}, or end the subscription: unread events are dropped after a while"
        since = queue.nobody_since or queue.observed_at
        return Hop("consumer", BROKEN, f"nobody reads {queue.name}", since, advice)
    if _unacknowledged(queue, seen):
        words = f"{queue.consumers} read {queue.name} and acknowledge nothing; {queue.ready} events wait"
        return Hop("consumer", BROKEN, words, queue.oldest_at, f"see why {service} acknowledges nothing: restart it")
    if queue.alarm == "critical":
        words = f"{queue.name} is read too slowly: {queue.reason}"
        advice = f"let {service} read faster, or ask for less: when the queue is full the oldest events are dropped"
        return Hop("consumer", BROKEN, words, queue.observed_at, advice)
    return Hop("consumer", OK, f"{queue.consumers} read {queue.name}", queue.observed_at)


def _unacknowledged(queue: Row[Any], seen: Seen) -> bool:
    """Its oldest event waits, and none is acknowledged; both are known only where RabbitMQ's management is asked."""
    waits = queue.ready and queue.oldest_at is not None and seen.age_s(queue.oldest_at) > _UNREAD_S
    return bool(waits and not queue.consume_rate)


def _held(row: Row[Any], seen: Seen) -> bool:
    """The ingestor that leads says something of this topic."""
    return seen.leader is not None and row.topic_epoch == seen.leader.epoch


def _is_young(row: Row[Any], seen: Seen) -> bool:
    return seen.age_s(row.created_at) < CARRIED_OUT_WITHIN_S


def _untold(hop: str) -> Hop:
    return Hop(hop, UNKNOWN, "only the ingestor could tell")
