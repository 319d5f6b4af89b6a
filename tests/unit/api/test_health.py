"""Whether the gateway does its work: the table of docs/health.md, row by row."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.services import health
from api.services.health import BrokerComponent, Evidence
from common.topology import BALANCE_QUEUE
from common.views.connections import ConnectionView
from tests.unit.api import views

HINT = "its arguments differ from the settings; to apply them: rabbitmqctl delete_queue x once it is read"
PAGE = Path(__file__).parents[3] / "docs" / "health.md"


def evidence(**changed: Any) -> Evidence:
    """Of a gateway that runs as it should."""
    found: dict[str, Any] = {
        "leader": views.leader(),
        "connections": [views.connection("linear"), views.connection("private")],
        "needed": {"linear": views.ago(3000)},
        "balance_queue": views.queue(BALANCE_QUEUE),
        "other_queues": [],
        "active_subscriptions": 1,
        "writable": True,
    }
    return Evidence(**found | changed)


def joining(since_s: float, attempts: int = 0) -> ConnectionView:
    return replace(views.connection(state="connecting"), since=views.ago(since_s), attempts=attempts)


def without_credentials() -> ConnectionView:
    return replace(views.connection("private", "parked", error="no credentials"), attempts=0)


SITUATIONS: dict[str, Evidence | None] = {
    "everything runs": evidence(),
    "there are no subscriptions and no credentials": evidence(connections=[], needed={}),
    "no ingestor was ever started": evidence(leader=None, connections=[]),
    "the ingestor was stopped": evidence(leader=None, connections=[], left_at=views.ago(30)),
    "the ingestor crashed or hangs: its last heartbeat is 4.5 s old": evidence(leader=views.leader(age_s=4.5)),
    "a needed connection is in backoff": evidence(connections=[views.connection(state="backoff", error="refused")]),
    "a needed connection was never opened": evidence(connections=[]),
    "one of two connections of an endpoint is lost": evidence(
        connections=[views.connection(), views.connection(state="connecting")]
    ),
    "a further connection of an endpoint has been connecting for less than 5 s": evidence(
        connections=[views.connection(), joining(since_s=4)]
    ),
    "a connection that is not needed is closed": evidence(
        connections=[views.connection(), views.connection("spot", "idle")]
    ),
    "the private connection is parked because the key is invalid": evidence(
        connections=[views.connection(), views.connection("private", "parked")]
    ),
    "private topics are subscribed, and there are no credentials": evidence(
        connections=[views.connection(), without_credentials()]
    ),
    "the report of a connection is stale although the heartbeat is fresh": evidence(
        connections=[views.connection(age_s=5)]
    ),
    "the ingestor has lost RabbitMQ, or RabbitMQ blocks it with an alarm": evidence(leader=views.leader(broker=False)),
    "RabbitMQ hangs: it has confirmed nothing for 2 s, and events are waiting": evidence(
        leader=views.leader(waiting=7, waits_s=2.0, waits_since=views.ago(3.6))
    ),
    "the disk of the spool is full or fails": evidence(leader=views.leader(disk="takes nothing: No space left")),
    "the spool is full": evidence(leader=views.leader(disk="the spool of market events is full")),
    "a queue exists with other arguments": evidence(other_queues=[views.queue(reason=HINT)]),
    "the balance queue has no consumer": evidence(balance_queue=views.queue(BALANCE_QUEUE, consumers=0)),
    "the balance queue has not been measured": evidence(balance_queue=None),
    "the balance queue had no consumer, measured once": evidence(
        balance_queue=views.queue(BALANCE_QUEUE, consumers=0, unread_since=views.ago(1.9), observed_at=views.ago(1))
    ),
    "the measurement of the balance queue is stale": evidence(balance_queue=views.queue(BALANCE_QUEUE, age_s=15)),
    "the database is read-only": evidence(writable=False),
    "the database is unavailable": None,
}


def documented() -> list[tuple[str, str, str, int]]:
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [(cells[0], cells[1], cells[2], int(cells[3])) for cells in lines if len(cells) == 4 and cells[3].isdigit()]


def judged(situation: str) -> dict[str, health.Component]:
    found = SITUATIONS[situation]
    return health.components(found) if found else health.without_database("timeout", None)


@pytest.mark.parametrize(("situation", "component", "state", "answer"), documented())
def test_the_documented_answer_is_given(situation: str, component: str, state: str, answer: int):
    parts = judged(situation)
    assert parts[component].state == state
    assert (200 if health.healthy(parts.values()) else 503) == answer


def test_every_situation_is_documented_and_every_component_occurs():
    assert {row[0] for row in documented()} == set(SITUATIONS)
    assert {row[1] for row in documented()} == set(judged("everything runs"))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_not_up_says_why(situation: str):
    for name, part in judged(situation).items():
        assert (part.reason is None) == (part.state in (health.UP, health.IDLE)), name


@pytest.mark.parametrize(
    ("situation", "component", "since"),
    [
        ("the ingestor crashed or hangs: its last heartbeat is 4.5 s old", "ingestor", views.ago(4.5)),
        ("the ingestor was stopped", "ingestor", views.ago(30)),
        ("a needed connection is in backoff", "sockets", views.ago(300)),
        ("a needed connection was never opened", "sockets", views.ago(3000)),
        ("the ingestor has lost RabbitMQ, or RabbitMQ blocks it with an alarm", "broker", views.ago(600)),
        ("the disk of the spool is full or fails", "ingestor", views.ago(60)),
        ("the balance queue has no consumer", "persister", views.ago(300)),
    ],
)
def test_what_is_down_says_since_when(situation: str, component: str, since: Any):
    assert judged(situation)[component].since == since


def test_what_is_up_says_since_when():
    parts = judged("everything runs")
    assert all(part.since for name, part in parts.items() if name != "database")
    assert parts["persister"].since == views.ago(900)


def test_the_connection_that_is_down_is_named():
    assert judged("a needed connection is in backoff")["sockets"].reason == "linear: backoff, attempt 3 (refused)"
    without = judged("private topics are subscribed, and there are no credentials")["sockets"]
    assert without.reason == "private: parked (no credentials)"


def test_a_queue_with_other_arguments_is_listed_with_what_to_do():
    broker = judged("a queue exists with other arguments")["broker"]
    assert isinstance(broker, BrokerComponent)
    assert broker.other_arguments == {"ws-gateway.trades.model": HINT}
    assert judged("everything runs")["broker"] == BrokerComponent("up", views.ago(600), None, {})


def test_the_reason_contains_the_brokers_own():
    broker = judged("the ingestor has lost RabbitMQ, or RabbitMQ blocks it with an alarm")["broker"]
    assert broker.reason == "RabbitMQ accepts no events: connection refused"


def test_the_newest_heartbeat_of_the_exchange_is_reported():
    assert health.last_heartbeat_at(evidence()) == views.ago(4)
    assert health.last_heartbeat_at(evidence(connections=[])) is None


@pytest.mark.parametrize(
    "late",
    [
        [views.connection(), joining(since_s=6)],
        [views.connection(), joining(since_s=4, attempts=1)],
        [joining(since_s=4)],
    ],
)
def test_one_that_takes_long_or_failed_or_is_the_only_one_is_down(late: list[ConnectionView]):
    found = health.connected(evidence(connections=late))
    assert found.state == health.DOWN
    assert "connecting" in str(found.reason)
