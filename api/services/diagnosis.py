"""Where the way from a subscription to its consumer is broken."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from api.services.health import broker_trouble
from api.services.observation import Observation
from common.channels import POOLED
from common.tables import instruments
from common.views import gaps, queues
from common.views.freshness import QUEUES_FRESH_S
from common.views.gaps import GapView
from common.views.ingestors import IngestorView
from common.views.queues import QueueView
from common.views.subscription_status import SubscriptionView

OK = "ok"
BROKEN = "broken"
WAITING = "waiting"
QUIET = "quiet"
UNKNOWN = "unknown"
APPLIED_WITHIN_S = 5.0
_QUIET_AFTER_S = 60.0
_UNACKNOWLEDGED_S = 60.0
_DISK_ADVICE = "free space in WS_GATEWAY_SPOOL_DIR, and make sure that its disk is writable"
_BROKER_ADVICE = (
    "start RabbitMQ: supervisorctl start gateway:rabbitmq; if it is running, see its alarms: rabbitmqctl status"
)
_NO_BROKER = "RabbitMQ is unavailable"


@dataclass(frozen=True, slots=True)
class HopState:
    """`evidence` is what was found, `since` when that began, `advice` what an operator can do about it."""

    hop: str
    state: str
    evidence: str
    since: datetime | None = None
    advice: str | None = None
    age_s: float | None = None
    """Seconds since `since`, where the caller has determined it."""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A subscription's queue, the oldest open gap of its topic, and whether its symbol was delisted."""

    queue: QueueView | None
    gap: GapView | None
    delisted: bool = False


@dataclass(frozen=True, slots=True)
class DiagnosedSubscription:
    """`broken` names the first broken hop, None when none is."""

    subscription: SubscriptionView
    broken: str | None
    verdict: str
    advice: str | None
    hops: Sequence[HopState]


def diagnosed(view: SubscriptionView, observed: Observation, facts: TopicFacts) -> DiagnosedSubscription:
    way = hops(view, observed, facts)
    broken = first_broken(way)
    return DiagnosedSubscription(
        subscription=explained(view, observed),
        broken=broken.hop if broken else None,
        verdict=verdict(way),
        advice=broken.advice if broken else None,
        hops=[_aged(hop, observed) for hop in way],
    )


def explained(view: SubscriptionView, observed: Observation | None) -> SubscriptionView:
    """The subscription with what it waits for, while it is pending and there is an observation."""
    if view.status != "pending" or observed is None:
        return view
    return replace(view, waits_for=why_pending(view, observed))


def all_explained(views: Sequence[SubscriptionView], observed: Observation | None) -> Sequence[SubscriptionView]:
    return views if observed is None else [explained(view, observed) for view in views]


def facts_of(connection: Connection, view: SubscriptionView) -> TopicFacts:
    return TopicFacts(
        queues.one(connection, view.queue),
        gaps.oldest_open(connection, view.endpoint, view.topic),
        _delisted(connection, view),
    )


def _delisted(connection: Connection, view: SubscriptionView) -> bool:
    """The exchange lists other symbols of this category, but not this one."""
    if view.symbol is None or view.channel_type in POOLED:
        return False
    by_coin = instruments.goes_by_coin(view.channel_type, view.category)
    if instruments.listed(connection, view.category, [view.symbol], by_base_coin=by_coin):
        return False
    return instruments.newest(connection, view.category) is not None


def hops(view: SubscriptionView, observed: Observation, facts: TopicFacts) -> list[HopState]:
    """The whole way, in the order in which a subscription and then an event travel it."""
    return [
        _intent(view),
        _reconciled(view, observed),
        _socket(view, observed),
        _ack(view, observed),
        _last_frame(view, observed, facts),
        _last_publish(view, observed),
        _binding(view, observed),
        queue_hop(view, observed, facts.queue),
        _consumer(view, observed, facts.queue),
    ]


def first_broken(way: Iterable[HopState]) -> HopState | None:
    return next((hop for hop in way if hop.state in (BROKEN, WAITING)), None)


def verdict(way: Sequence[HopState]) -> str:
    """In one sentence; events reach the consumer only where every hop is ok."""
    if (broken := first_broken(way)) is not None:
        return broken.evidence
    if (unknown := next((hop for hop in way if hop.state == UNKNOWN), None)) is not None:
        return f"nothing is known to be broken, but {unknown.hop} is unknown: {unknown.evidence}"
    quiet = next((hop for hop in way if hop.state == QUIET), None)
    return quiet.evidence if quiet else "events reach the consumer"


def why_pending(view: SubscriptionView, observed: Observation) -> str | None:
    """What a pending subscription waits for."""
    checks = (_reconciled, _socket, _ack, _last_publish, _binding)
    broken = first_broken(check(view, observed) for check in checks)
    return broken.evidence if broken else None


def _intent(view: SubscriptionView) -> HopState:
    if view.is_active:
        return HopState("intent", OK, f"{view.requesting_service} subscribed to {view.topic}", view.created_at)
    how = "its lease expired" if view.ended == "expired" else "it was cancelled"
    again = "subscribe again: POST /api/v1/subscriptions"
    return HopState("intent", BROKEN, f"the subscription has ended: {how}", view.updated_at, again)


def _reconciled(view: SubscriptionView, observed: Observation) -> HopState:
    name = "reconciled"
    leader = observed.leader
    if leader is None:
        return HopState(name, BROKEN, "no ingestor is running", advice="start it: supervisorctl start gateway:ingestor")
    if not leader.fresh:
        words = f"the last heartbeat of the ingestor is {leader.age_s:.0f} s old"
        return HopState(name, BROKEN, words, leader.heartbeat_at, "restart it: supervisorctl restart gateway:ingestor")
    words = f"the ingestor has applied generation {leader.generation}; this subscription has {view.generation}"
    if leader.generation >= view.generation or _held(view, observed):
        return HopState(name, OK, words, leader.heartbeat_at)
    if _is_young(view, observed):
        trouble = broker_trouble(leader, _lane(view))
        why = f"; {trouble.reason}" if trouble else ""
        return HopState(name, WAITING, f"waiting for the ingestor{why}", view.created_at)
    advice = "search the ingestor's log for the trace id of this subscription"
    return HopState(name, BROKEN, f"the ingestor has not applied this subscription: {words}", view.created_at, advice)


def _socket(view: SubscriptionView, observed: Observation) -> HopState:
    if observed.reporting is None:
        return _unknown("socket")
    mine = [connection for connection in observed.connections if connection.endpoint == view.endpoint]
    if not mine:
        return _no_connection(view, observed)
    if view.endpoint == "private" and observed.reporting.disk_trouble:
        trouble = observed.reporting.disk_trouble
        words = f"the private connection is paused because its events cannot be stored: {trouble}"
        return HopState("socket", BROKEN, words, observed.reporting.disk_since, _DISK_ADVICE)
    lost = next((connection for connection in mine if connection.state != "live"), None)
    if lost is None:
        since = max(connection.since for connection in mine)
        return HopState("socket", OK, f"the {view.endpoint} connection is live", since)
    why = f": {lost.last_error}" if lost.last_error else ""
    attempt = f", attempt {lost.attempts}" if lost.attempts else ""
    words = f"the {view.endpoint} connection is in state {lost.state}{attempt}{why}"
    return HopState("socket", BROKEN, words, lost.since, _connection_advice(lost.state))


def _no_connection(view: SubscriptionView, observed: Observation) -> HopState:
    words = f"there is no {view.endpoint} connection"
    if _is_young(view, observed):
        return HopState("socket", WAITING, f"{words} yet", view.created_at)
    if view.endpoint != "private":
        return HopState("socket", BROKEN, words, view.created_at, "check the ingestor's log")
    advice = "set BYBIT_API_KEY and BYBIT_API_SECRET: without them only public topics are available"
    return HopState("socket", BROKEN, words, view.created_at, advice)


def _connection_advice(state: str) -> str:
    if state == "parked":
        return "set valid BYBIT_API_KEY and BYBIT_API_SECRET, then: supervisorctl signal HUP gateway:ingestor"
    return "it reconnects on its own; if this persists, check that this machine can reach the exchange"


def _ack(view: SubscriptionView, observed: Observation) -> HopState:
    if observed.reporting is None:
        return _unknown("ack")
    if not _held(view, observed):
        return HopState("ack", WAITING, "the subscribe request has not been sent yet", view.created_at)
    if view.topic_state == "rejected":
        words = f"the exchange rejected {view.topic}: {view.topic_reason or 'no reason given'}"
        advice = f"end this subscription and subscribe to a symbol that is listed in {view.category}"
        return HopState("ack", BROKEN, words, view.topic_updated_at, advice)
    if view.topic_state != "live":
        return HopState("ack", WAITING, f"the exchange has not acknowledged {view.topic} yet", view.topic_updated_at)
    return HopState("ack", OK, f"the exchange acknowledged {view.topic}", view.acked_at)


def _last_frame(view: SubscriptionView, observed: Observation, facts: TopicFacts) -> HopState:
    name = "last_frame"
    if facts.gap is not None:
        advice = "the gap closes with the first event after its cause is resolved"
        return HopState(name, BROKEN, f"the topic may have missed data: {facts.gap.cause}", facts.gap.opened, advice)
    age_s = None if view.last_event_at is None else observed.age_s(view.last_event_at)
    words = "no event received yet" if age_s is None else f"the last event was received {age_s:.0f} s ago"
    if age_s is not None and age_s < _QUIET_AFTER_S:
        return HopState(name, OK, words, view.last_event_at)
    if facts.delisted:
        advice = f"end this subscription and subscribe to a symbol that is listed in {view.category}"
        words = f"{words}; {view.symbol} is not listed in {view.category}"
        return HopState(name, BROKEN, words, view.last_event_at, advice)
    return HopState(name, QUIET, f"{words}; a quiet market sends no events", view.last_event_at)


def _last_publish(view: SubscriptionView, observed: Observation) -> HopState:
    name = "last_publish"
    leader = observed.reporting
    if leader is None:
        return _unknown(name)
    if (trouble := broker_trouble(leader, _lane(view))) is not None:
        return HopState(name, BROKEN, f"{trouble.reason}; events are spooled", trouble.since, _BROKER_ADVICE)
    if leader.disk_trouble:
        return HopState(name, BROKEN, leader.disk_trouble, leader.disk_since, _DISK_ADVICE)
    lane = leader.lanes.get(_lane(view))
    at = lane.confirmed_at if lane else None  # of all events that share the topic's lane to RabbitMQ
    if at is None:
        return HopState(name, OK, "no event was published to RabbitMQ yet")
    return HopState(name, OK, f"RabbitMQ confirmed an event {max(0.0, observed.age_s(at)):.0f} s ago", at)


def _lane(view: SubscriptionView) -> str:
    """Private events and market data have a connection to RabbitMQ each."""
    return "private" if view.endpoint == "private" else "market"


def _binding(view: SubscriptionView, observed: Observation) -> HopState:
    if observed.reporting is None:
        return _unknown("binding")
    if not _broker_answers(observed.reporting, view):
        return HopState("binding", UNKNOWN, _NO_BROKER)
    if observed.reporting.generation >= view.generation:
        return HopState("binding", OK, f"the queue is bound to {view.routing_key}", observed.reporting.heartbeat_at)
    if _is_young(view, observed) or observed.age_s(observed.reporting.broker_since) < APPLIED_WITHIN_S:
        return HopState("binding", WAITING, "the queue is not bound yet", view.created_at)
    advice = "check the ingestor's log for what RabbitMQ refused"
    return HopState("binding", BROKEN, "the queue is not bound", view.created_at, advice)


def queue_hop(view: SubscriptionView, observed: Observation, queue: QueueView | None) -> HopState:
    name = view.queue
    advice = "the ingestor declares it again within seconds; if it does not, check its log"
    if observed.reporting is None:
        return _unknown("queue")
    if not _broker_answers(observed.reporting, view):
        return HopState("queue", UNKNOWN, _NO_BROKER)
    if queue is None and observed.age_s(view.created_at) < QUEUES_FRESH_S:
        declared = observed.reporting.generation >= view.generation
        words = f"{name} is declared and not measured yet" if declared else f"{name} is not declared yet"
        return HopState("queue", OK if declared else WAITING, words, view.created_at)
    if queue is None:
        return HopState("queue", BROKEN, f"the queue {name} does not exist", advice=advice)
    if queue.stale or queue.ready is None:
        return HopState("queue", BROKEN, f"{name} was last measured {queue.age_s:.0f} s ago", queue.observed_at, advice)
    alarm = f" ({queue.alarm}: {queue.reason})" if queue.alarm else ""
    return HopState("queue", OK, f"{queue.ready} events are ready in {name}{alarm}", queue.observed_at)


def _consumer(view: SubscriptionView, observed: Observation, queue: QueueView | None) -> HopState:
    service = view.requesting_service
    if observed.reporting is None:
        return _unknown("consumer")
    if not _broker_answers(observed.reporting, view):
        return HopState("consumer", UNKNOWN, _NO_BROKER)
    if queue is None or queue.stale or queue.consumers is None:
        return HopState("consumer", UNKNOWN, "the queue has not been measured recently")
    if not queue.consumers:
        advice = f"start {service}, or end the subscription: unread events are dropped eventually"
        since = queue.unread_since or queue.observed_at
        return HopState("consumer", BROKEN, f"{queue.name} has no consumer", since, advice)
    if _unacknowledged(queue, observed):
        words = f"the consumers of {queue.name} ({queue.consumers}) acknowledge nothing; {queue.ready} events are ready"
        advice = f"check why {service} acknowledges nothing, or restart it"
        return HopState("consumer", BROKEN, words, queue.oldest_at, advice)
    if queue.alarm == "critical":
        words = f"{queue.name} is consumed too slowly: {queue.reason}"
        advice = f"let {service} consume faster or subscribe to less: a full queue drops its oldest events"
        return HopState("consumer", BROKEN, words, queue.observed_at, advice)
    return HopState("consumer", OK, f"consumers of {queue.name}: {queue.consumers}", queue.observed_at)


def _unacknowledged(queue: QueueView, observed: Observation) -> bool:
    """Its oldest event is old, and none is acknowledged; both are known only with RabbitMQ's management plugin."""
    if not queue.ready or queue.oldest_at is None:
        return False
    return observed.age_s(queue.oldest_at) > _UNACKNOWLEDGED_S and not queue.consume_rate


def _held(view: SubscriptionView, observed: Observation) -> bool:
    """The leading ingestor reports this topic."""
    return observed.leader is not None and view.topic_epoch == observed.leader.epoch


def _broker_answers(leader: IngestorView, view: SubscriptionView) -> bool:
    return broker_trouble(leader, _lane(view)) is None


def _is_young(view: SubscriptionView, observed: Observation) -> bool:
    return observed.age_s(view.created_at) < APPLIED_WITHIN_S


def _unknown(hop: str) -> HopState:
    return HopState(hop, UNKNOWN, "the ingestor does not report")


def _aged(hop: HopState, observed: Observation) -> HopState:
    return hop if hop.since is None else replace(hop, age_s=observed.age_s(hop.since))
