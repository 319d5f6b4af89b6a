"""Where the way from a wish to its reader is broken."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from api import diagnosis
from api.diagnosis import BROKEN, FarEnd, Hop, Seen
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

    def way(self) -> list[Hop]:
        seen = Seen(rows.NOW, self.leader, self.sockets)
        return diagnosis.hops(self.row, seen, FarEnd(self.queue, self.gap))


PRIVATE = {"channel_type": "order", "endpoint": "private", "topic": "order", "routing_key": "order.private"}
YOUNG = {"created_at": rows.ago(1), "generation": 200, "topic_epoch": None, "topic_state": None, "last_event_at": None}
CASES = {
    "all is well": Case(None, ""),
    "cancelled": Case("intent", "cancelled", row=rows.subscription(is_active=False, ended="cancelled")),
    "lease ran out": Case("intent", "lease ran out", row=rows.subscription(is_active=False, ended="expired")),
    "no ingestor": Case("reconciled", "no ingestor leads", leader=None, sockets=[]),
    "ingestor dead": Case("reconciled", "last heard of 40 s ago", leader=rows.leader(age_s=40)),
    "just asked": Case("reconciled", "not come to it yet", row=rows.subscription(**YOUNG)),
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
    "no ack": Case("ack", "not acknowledged", row=rows.subscription(topic_state="pending")),
    "gap open": Case("last_frame", "connection lost", gap=rows.gap()),
    "quiet market": Case(None, "", row=rows.subscription(last_event_at=rows.ago(900))),
    "never an event": Case(None, "", row=rows.subscription(last_event_at=None)),
    "broker away": Case("last_publish", "no connection to RabbitMQ", leader=rows.leader(broker=False)),
    "not bound": Case("binding", "not bound", row=rows.subscription(generation=200)),
    "queue deleted": Case("queue", "there is no queue ws-gateway.trades.model", queue=None),
    "queue not seen": Case("queue", "last seen 40 s ago", queue=rows.queue(age_s=40)),
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
    full = rows.queue()
    full.alarm, full.reason = "critical", "95000 of the 100000 messages it keeps"
    [hop] = [hop for hop in Case(None, "", queue=full).way() if hop.hop == "queue"]
    assert hop.evidence == "3 events wait in ws-gateway.trades.model (critical: 95000 of the 100000 messages it keeps)"


def test_a_quiet_market_is_told_apart_from_a_fault():
    [frame] = [hop for hop in CASES["quiet market"].way() if hop.hop == "last_frame"]
    assert (frame.state, frame.evidence) == ("quiet", "the last event came 900 s ago; a quiet market sends none")


def test_nothing_is_claimed_that_only_a_living_ingestor_could_tell():
    states = {hop.hop: hop.state for hop in CASES["ingestor dead"].way()}
    assert {states[hop] for hop in ("socket", "ack", "last_publish", "binding")} == {"unknown"}


def test_a_pending_wish_says_what_it_waits_for():
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
