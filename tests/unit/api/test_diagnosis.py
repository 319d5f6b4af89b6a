"""Where the way from a subscription to its consumer is broken."""

from dataclasses import dataclass, field, replace

import pytest

from api.services import diagnosis
from api.services.diagnosis import BROKEN, HopState, TopicFacts
from api.services.observation import Observation
from common.views.connections import ConnectionView
from common.views.gaps import GapView
from common.views.ingestors import IngestorView
from common.views.queues import QueueView
from common.views.subscription_status import SubscriptionView
from tests.unit.api import views

HOPS = ["intent", "reconciled", "socket", "ack", "last_frame", "last_publish", "binding", "queue", "consumer"]


@dataclass
class Case:
    """A fault, the first hop that it breaks, and words that the verdict must contain."""

    broken: str | None
    words: str
    view: SubscriptionView = field(default_factory=views.subscription)
    leader: IngestorView | None = field(default_factory=views.leader)
    connections: list[ConnectionView] = field(default_factory=lambda: [views.connection()])
    queue: QueueView | None = field(default_factory=views.queue)
    gap: GapView | None = None
    delisted: bool = False

    def observed(self) -> Observation:
        return Observation(views.NOW, self.leader, self.connections)

    def facts(self) -> TopicFacts:
        return TopicFacts(self.queue, self.gap, self.delisted)

    def way(self) -> list[HopState]:
        return diagnosis.hops(self.view, self.observed(), self.facts())


PRIVATE = {"channel_type": "order", "endpoint": "private", "topic": "order", "routing_key": "order.private"}
YOUNG = {"created_at": views.ago(1), "generation": 200, "topic_epoch": None, "topic_state": None, "last_event_at": None}
CASES = {
    "all is well": Case(None, ""),
    "cancelled": Case("intent", "cancelled", view=views.subscription(is_active=False, ended="cancelled")),
    "lease expired": Case("intent", "its lease expired", view=views.subscription(is_active=False, ended="expired")),
    "no ingestor": Case("reconciled", "no ingestor is running", leader=None, connections=[]),
    "ingestor dead": Case("reconciled", "last heartbeat of the ingestor is 40 s old", leader=views.leader(age_s=40)),
    "just requested": Case("reconciled", "waiting for the ingestor", view=views.subscription(**YOUNG)),
    "just requested while RabbitMQ is unavailable": Case(
        "reconciled", "waiting for the ingestor; RabbitMQ accepts no events",
        view=views.subscription(**YOUNG), leader=views.leader(broker=False),
    ),
    "reconciler stuck": Case(
        "reconciled", "has not applied this subscription",
        view=views.subscription(**YOUNG | {"created_at": views.ago(60)}),
    ),
    "connection in backoff": Case(
        "socket", "linear connection is in state backoff, attempt 3: refused",
        connections=[views.connection(state="backoff", error="refused")],
    ),
    "bad key": Case(
        "socket",
        "private connection is in state parked",
        view=views.subscription(**PRIVATE),
        connections=[views.connection("private", "parked", error="API key is invalid")],
    ),
    "no private connection": Case("socket", "no private connection", view=views.subscription(**PRIVATE)),
    "no credentials": Case(
        "socket",
        "private connection is in state parked: no credentials",
        view=views.subscription(**PRIVATE),
        connections=[replace(views.connection("private", "parked", error="no credentials"), attempts=0)],
    ),
    "symbol delisted": Case(
        "ack", "rejected publicTrade.BTCUSDT: Invalid symbol",
        view=views.subscription(status="rejected", topic_state="rejected", topic_reason="Invalid symbol"),
    ),
    "delisted while subscribed": Case(
        "last_frame", "BTCUSDT is not listed in linear",
        view=views.subscription(last_event_at=views.ago(90)), delisted=True,
    ),
    "no ack": Case("ack", "not acknowledged", view=views.subscription(topic_state="pending")),
    "gap open": Case("last_frame", "connection lost", gap=views.gap()),
    "quiet market": Case(None, "", view=views.subscription(last_event_at=views.ago(900))),
    "never an event": Case(None, "", view=views.subscription(last_event_at=None)),
    "broker unavailable": Case(
        "last_publish", "connection refused; events are spooled", leader=views.leader(broker=False)
    ),
    "no confirms": Case(
        "last_publish", "RabbitMQ confirms nothing; 7 events are waiting",
        leader=views.leader(waiting=7, waits_s=3.1, waits_since=views.ago(4)),
    ),
    "no confirms of the other kind": Case(
        None, "", view=views.subscription(**PRIVATE), connections=[views.connection("private")],
        leader=views.leader(waiting=7, waits_s=3.1, waits_since=views.ago(4)),
    ),
    "disk full, private": Case(
        "socket", "the private connection is paused", view=views.subscription(**PRIVATE),
        connections=[views.connection("private")], leader=views.leader(disk="takes nothing: No space"),
    ),
    "disk full": Case("last_publish", "takes nothing: No space", leader=views.leader(disk="takes nothing: No space")),
    "not bound": Case("binding", "not bound", view=views.subscription(generation=200)),
    "queue deleted": Case("queue", "the queue ws-gateway.trades.model does not exist", queue=None),
    "queue not measured lately": Case("queue", "last measured 40 s ago", queue=views.queue(age_s=40)),
    "queue not declared yet": Case(
        "binding",
        "not bound yet",
        view=views.subscription(**YOUNG | {"topic_state": "live", "topic_epoch": "E1"}), queue=None,
    ),
    "queue not measured yet": Case(None, "", view=views.subscription(created_at=views.ago(3)), queue=None),
    "consumer never acks": Case(
        "consumer", "the consumers of ws-gateway.trades.model (1) acknowledge nothing; 3 events are ready",
        queue=views.queue(consume_rate=0.0, oldest_at=views.ago(61)),
    ),
    "consumer has just started": Case(None, "", queue=views.queue(consume_rate=0.0, oldest_at=views.ago(5))),
    "consumer too slow": Case(
        "consumer", "consumed too slowly: 12000 messages wait",
        queue=views.queue(alarm="critical", reason="12000 messages wait", consume_rate=3.0, oldest_at=views.ago(90)),
    ),
    "no consumer": Case("consumer", "ws-gateway.trades.model has no consumer", queue=views.queue(consumers=0)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_first_broken_hop_is_named(name: str):
    case = CASES[name]
    way = case.way()
    broken = diagnosis.first_broken(way)
    assert [hop.hop for hop in way] == HOPS
    assert (broken.hop if broken else None) == case.broken
    assert case.words in (broken.evidence if broken else "")


@pytest.mark.parametrize("name", CASES)
def test_a_broken_hop_comes_with_advice(name: str):
    assert all(hop.advice for hop in CASES[name].way() if hop.state == BROKEN)


def test_the_alarm_of_a_queue_is_part_of_the_evidence():
    full = views.queue(alarm="warning", reason="85000 of the 100000 messages it keeps")
    [hop] = [hop for hop in Case(None, "", queue=full).way() if hop.hop == "queue"]
    assert hop.evidence == (
        "3 events are ready in ws-gateway.trades.model (warning: 85000 of the 100000 messages it keeps)"
    )


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_good_only_when_every_hop_is_ok(name: str):
    way = CASES[name].way()
    well = diagnosis.verdict(way) == "events reach the consumer"
    assert well == ({hop.state for hop in way} == {"ok"}), [hop for hop in way if hop.state != "ok"]


def test_the_verdict_names_a_hop_that_is_unknown():
    verdict = diagnosis.verdict(CASES["queue not measured yet"].way())
    assert verdict == (
        "nothing is known to be broken, but consumer is unknown: the queue has not been measured recently"
    )


def test_a_quiet_market_differs_from_a_fault():
    [frame] = [hop for hop in CASES["quiet market"].way() if hop.hop == "last_frame"]
    assert (frame.state, frame.evidence) == (
        "quiet",
        "the last event was received 900 s ago; a quiet market sends no events",
    )


def test_what_only_a_running_ingestor_knows_is_unknown_without_one():
    states = {hop.hop: hop.state for hop in CASES["ingestor dead"].way()}
    reported = ("socket", "ack", "last_publish", "binding", "queue", "consumer")
    assert {states[hop] for hop in reported} == {"unknown"}


@pytest.mark.parametrize("name", ["broker unavailable", "no confirms"])
def test_what_only_the_broker_knows_is_unknown_without_it(name: str):
    states = {hop.hop: hop.state for hop in CASES[name].way()}
    assert {states[hop] for hop in ("binding", "queue", "consumer")} == {"unknown"}


def test_a_pending_subscription_says_what_it_waits_for():
    observed = Observation(views.NOW, views.leader(), [views.connection(state="connecting")])
    why = diagnosis.why_pending(views.subscription(topic_state="pending"), observed)
    assert why == "the linear connection is in state connecting, attempt 3"


def test_a_diagnosis_names_the_first_broken_hop_with_its_evidence_and_advice():
    case = CASES["no consumer"]
    found = diagnosis.diagnosed(case.view, case.observed(), case.facts())
    assert (found.broken, found.verdict) == ("consumer", "ws-gateway.trades.model has no consumer")
    assert found.advice == "start model, or end the subscription: unread events are dropped eventually"
    assert found.subscription is case.view


def test_a_diagnosis_without_a_broken_hop_has_no_advice():
    case = CASES["all is well"]
    found = diagnosis.diagnosed(case.view, case.observed(), case.facts())
    assert (found.broken, found.advice, found.verdict) == (None, None, "events reach the consumer")


def test_each_hop_has_the_age_of_its_evidence():
    case = CASES["all is well"]
    hops = diagnosis.diagnosed(case.view, case.observed(), case.facts()).hops
    assert {hop.hop: hop.age_s for hop in hops}["intent"] == 3000
    assert all((hop.age_s is None) == (hop.since is None) for hop in hops)


@pytest.mark.parametrize("status", ["live", "rejected", "cancelled", "expired"])
def test_only_a_pending_subscription_waits_for_something(status: str):
    observed = Observation(views.NOW, None, [])
    settled = views.subscription(status=status)
    assert diagnosis.explained(settled, observed) is settled
    pending = views.subscription(status="pending")
    assert diagnosis.explained(pending, observed).reason == "no ingestor is running"
    assert diagnosis.all_explained([pending], None) == [pending]
