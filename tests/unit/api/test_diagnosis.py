"""Where the way from a subscription to its reader is broken."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from api.services import diagnosis
from api.services.diagnosis import BROKEN, FarEnd, Hop, Seen
from tests.unit.api import rows

HOPS = ["intent", "reconciled", "socket", "ack", "last_frame", "last_publish", "binding", "queue", "consumer"]


@dataclass
class Case:
    """A fault, the first hop that it breaks, and words that the verdict must hold."""

    broken: str | None
    words: str
    row: Any = field(default_factory=rows.subscription)
    leader: Any = field(default_factory=rows.leader)
    sockets: list[Any] = field(default_factory=lambda: [rows.socket()])
    queue: Any = field(default_factory=rows.queue)
    gap: Any = None
    delisted: bool = False

    def way(self) -> list[Hop]:
        seen = Seen(rows.NOW, self.leader, self.sockets)
        return diagnosis.hops(self.row, seen, FarEnd(self.queue, self.gap, self.delisted))


PRIVATE = {"channel_type": "order", "endpoint": "private", "topic": "order", "routing_key": "order.private"}
YOUNG = {"created_at": rows.ago(1), "generation": 200, "topic_epoch": None, "topic_state": None, "last_event_at": None}
CASES = {
    "all is well": Case(None, ""),
    "cancelled": Case("intent", "cancelled", row=rows.subscription(is_active=False, ended="cancelled")),
    "lease ran out": Case("intent", "lease ran out", row=rows.subscription(is_active=False, ended="expired")),
    "no ingestor": Case("reconciled", "no ingestor leads", leader=None, sockets=[]),
    "ingestor dead": Case("reconciled", "last heard of 40 s ago", leader=rows.leader(age_s=40)),
    "just asked": Case("reconciled", "waiting for the ingestor", row=rows.subscription(**YOUNG)),
    "just asked while the broker is away": Case(
        "reconciled", "waiting for the ingestor; RabbitMQ takes nothing",
        row=rows.subscription(**YOUNG), leader=rows.leader(broker=False),
    ),
    "reconciler stuck": Case(
        "reconciled", "does not come to it", row=rows.subscription(**YOUNG | {"created_at": rows.ago(60)})
    ),
    "socket in backoff": Case(
        "socket", "linear is backoff, attempt 3: refused", sockets=[rows.socket(state="backoff", error="refused")]
    ),
    "bad key": Case(
        "socket",
        "private is parked",
        row=rows.subscription(**PRIVATE),
        sockets=[rows.socket("private", "parked", error="API key is invalid")],
    ),
    "no credentials": Case("socket", "no socket private", row=rows.subscription(**PRIVATE)),
    "symbol delisted": Case(
        "ack", "refuses publicTrade.BTCUSDT: Invalid symbol",
        row=rows.subscription(status="rejected", topic_state="rejected", reason="Invalid symbol"),
    ),
    "delisted while it was held": Case(
        "last_frame", "BTCUSDT is not listed in linear",
        row=rows.subscription(last_event_at=rows.ago(90)), delisted=True,
    ),
    "no ack": Case("ack", "not acknowledged", row=rows.subscription(topic_state="pending")),
    "gap open": Case("last_frame", "connection lost", gap=rows.gap()),
    "quiet market": Case(None, "", row=rows.subscription(last_event_at=rows.ago(900))),
    "never an event": Case(None, "", row=rows.subscription(last_event_at=None)),
    "broker away": Case("last_publish", "connection refused; what comes is kept", leader=rows.leader(broker=False)),
    "no confirms": Case(
        "last_publish", "RabbitMQ confirms nothing, and 7 events wait",
        leader=rows.leader(waiting=7, waits_s=3.1, waits_since=rows.ago(4).isoformat()),
    ),
    "no confirms of the other kind": Case(
        None, "", row=rows.subscription(**PRIVATE), sockets=[rows.socket("private")],
        leader=rows.leader(waiting=7, waits_s=3.1, waits_since=rows.ago(4).isoformat()),
    ),
    "disk full, private": Case(
        "socket", "the private socket is not read", row=rows.subscription(**PRIVATE),
        sockets=[rows.socket("private")], leader=rows.leader(disk="takes nothing: No space"),
    ),
    "disk full": Case("last_publish", "takes nothing: No space", leader=rows.leader(disk="takes nothing: No space")),
    "not bound": Case("binding", "not bound", row=rows.subscription(generation=200)),
    "queue deleted": Case("queue", "there is no queue ws-gateway.trades.model", queue=None),
    "queue not seen": Case("queue", "last seen 40 s ago", queue=rows.queue(age_s=40)),
    "queue not made yet": Case(
        "binding",
        "not bound yet",
        row=rows.subscription(**YOUNG | {"topic_state": "live", "topic_epoch": "E1"}), queue=None,
    ),
    "queue not looked at yet": Case(None, "", row=rows.subscription(created_at=rows.ago(3)), queue=None),
    "consumer never acks": Case(
        "consumer", "1 read ws-gateway.trades.model and acknowledge nothing; 3 events wait",
        queue=rows.queue(consume_rate=0.0, oldest_at=rows.ago(61)),
    ),
    "consumer has just begun": Case(None, "", queue=rows.queue(consume_rate=0.0, oldest_at=rows.ago(5))),
    "consumer too slow": Case(
        "consumer", "read too slowly: 12000 messages wait",
        queue=rows.queue(alarm="critical", reason="12000 messages wait", consume_rate=3.0, oldest_at=rows.ago(90)),
    ),
    "nobody consuming": Case("consumer", "nobody reads ws-gateway.trades.model", queue=rows.queue(consumers=0)),
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
def test_what_is_broken_comes_with_advice(name: str):
    assert all(hop.advice for hop in CASES[name].way() if hop.state == BROKEN)


def test_a_queue_that_fills_up_says_so():
    full = rows.queue(alarm="warning", reason="85000 of the 100000 messages it keeps")
    [hop] = [hop for hop in Case(None, "", queue=full).way() if hop.hop == "queue"]
    assert hop.evidence == "3 events wait in ws-gateway.trades.model (warning: 85000 of the 100000 messages it keeps)"


@pytest.mark.parametrize("name", CASES)
def test_all_is_said_to_be_well_only_when_every_hop_is(name: str):
    way = CASES[name].way()
    well = diagnosis.verdict(way) == "events reach their reader"
    assert well == ({hop.state for hop in way} == {"ok"}), [hop for hop in way if hop.state != "ok"]


def test_what_cannot_be_told_is_said():
    verdict = diagnosis.verdict(CASES["queue not looked at yet"].way())
    assert verdict == ("nothing is known to be broken, but consumer is unknown: only a look at the queue could tell")


def test_a_quiet_market_is_told_apart_from_a_fault():
    [frame] = [hop for hop in CASES["quiet market"].way() if hop.hop == "last_frame"]
    assert (frame.state, frame.evidence) == ("quiet", "the last event came 900 s ago; a quiet market sends none")


def test_nothing_is_claimed_that_only_a_living_ingestor_could_tell():
    states = {hop.hop: hop.state for hop in CASES["ingestor dead"].way()}
    told = ("socket", "ack", "last_publish", "binding", "queue", "consumer")
    assert {states[hop] for hop in told} == {"unknown"}


@pytest.mark.parametrize("name", ["broker away", "no confirms"])
def test_nothing_is_claimed_of_a_broker_that_does_not_answer(name: str):
    states = {hop.hop: hop.state for hop in CASES[name].way()}
    assert {states[hop] for hop in ("binding", "queue", "consumer")} == {"unknown"}


def test_a_pending_subscription_says_what_it_waits_for():
    seen = Seen(rows.NOW, rows.leader(), [rows.socket(state="connecting")])
    why = diagnosis.why_pending(rows.subscription(topic_state="pending"), seen)
    assert why == "the socket linear is connecting, attempt 3"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Seen]:
    """Each look at the database, in order."""
    made: list[Seen] = []

    def look(_connection: Any) -> Seen:
        made.append(Seen(rows.NOW, None, []))
        return made[-1]

    monkeypatch.setattr(diagnosis, "seen", look)
    return made


def test_a_look_is_good_for_a_moment(looks: list[Seen]):
    clock = Clock()
    watch = diagnosis.Watch(fresh_for_s=0.25, clock=clock)
    first = watch.seen(None)  # type: ignore[arg-type]
    clock.now = 0.24
    assert watch.seen(None) is first  # type: ignore[arg-type]
    clock.now = 0.25
    assert watch.seen(None) is not first  # type: ignore[arg-type]
    assert len(looks) == 2
