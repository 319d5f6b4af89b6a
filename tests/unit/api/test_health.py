"""Whether the gateway does its work: the table of docs/health.md, row by row."""

from pathlib import Path
from typing import Any

import pytest

from api.services import health
from api.services.health import Evidence
from common.topology import BALANCE_QUEUE
from tests.unit.api import rows

HINT = "its arguments differ from the settings; to apply them: rabbitmqctl delete_queue x once it is read"
PAGE = Path(__file__).parents[3] / "docs" / "health.md"


def evidence(**changed: Any) -> Evidence:
    """Of a gateway that runs as it should."""
    found = {
        "leader": rows.leader(),
        "sockets": [rows.socket("linear"), rows.socket("private")],
        "needed": {"linear": rows.ago(3000)},
        "balance_queue": rows.queue(BALANCE_QUEUE),
        "strange_queues": [],
        "active_subscriptions": 1,
        "writable": True,
    }
    return Evidence(**found | changed)


def joining(since_s: float, attempts: int = 0) -> Any:
    socket = rows.socket(state="connecting")
    socket.since, socket.attempts = rows.ago(since_s), attempts
    return socket


SITUATIONS: dict[str, Evidence | None] = {
    "everything runs": evidence(),
    "nobody wants anything and there are no credentials": evidence(sockets=[], needed={}),
    "no ingestor was ever started": evidence(leader=None, sockets=[]),
    "the ingestor was stopped": evidence(leader=None, sockets=[], left_at=rows.ago(30)),
    "the ingestor is dead or hangs: its last row is 4.5 s old": evidence(leader=rows.leader(age_s=4.5)),
    "a needed socket is in backoff": evidence(sockets=[rows.socket(state="backoff", error="refused")]),
    "a needed socket was never opened": evidence(sockets=[]),
    "one of two sockets of an endpoint is lost": evidence(sockets=[rows.socket(), rows.socket(state="connecting")]),
    "a further socket of an endpoint has connected for less than 5 s": evidence(
        sockets=[rows.socket(), joining(since_s=4)]
    ),
    "a socket that nobody needs is closed": evidence(sockets=[rows.socket(), rows.socket("spot", "idle")]),
    "the private socket is parked because the key is bad": evidence(
        sockets=[rows.socket(), rows.socket("private", "parked")]
    ),
    "a socket's row is stale although the ingestor's is fresh": evidence(sockets=[rows.socket(age_s=5)]),
    "the ingestor has lost RabbitMQ, or is blocked by its alarm": evidence(leader=rows.leader(broker=False)),
    "RabbitMQ hangs: it has confirmed nothing for 2 s, and events wait": evidence(
        leader=rows.leader(waiting=7, waits_s=2.0, waits_since=rows.ago(3.6).isoformat())
    ),
    "the disk of the spool is full or fails": evidence(leader=rows.leader(disk="takes nothing: No space left")),
    "the spool is full": evidence(leader=rows.leader(disk="the spool of market events is full")),
    "a queue exists with other arguments": evidence(strange_queues=[rows.queue(reason=HINT)]),
    "nobody reads the balance queue": evidence(balance_queue=rows.queue(BALANCE_QUEUE, consumers=0)),
    "the balance queue has not been looked at": evidence(balance_queue=None),
    "nobody read the balance queue, at one look": evidence(
        balance_queue=rows.queue(BALANCE_QUEUE, consumers=0, nobody_since=rows.ago(1.9), observed_at=rows.ago(1))
    ),
    "the look at the balance queue is stale": evidence(balance_queue=rows.queue(BALANCE_QUEUE, age_s=15)),
    "the database takes no writes": evidence(writable=False),
    "the database does not answer": None,
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
        ("the ingestor is dead or hangs: its last row is 4.5 s old", "ingestor", rows.ago(4.5)),
        ("the ingestor was stopped", "ingestor", rows.ago(30)),
        ("a needed socket is in backoff", "sockets", rows.ago(300)),
        ("a needed socket was never opened", "sockets", rows.ago(3000)),
        ("the ingestor has lost RabbitMQ, or is blocked by its alarm", "broker", rows.ago(600)),
        ("the disk of the spool is full or fails", "ingestor", rows.ago(60)),
        ("nobody reads the balance queue", "persister", rows.ago(300)),
    ],
)
def test_what_is_down_says_since_when(situation: str, component: str, since: Any):
    assert judged(situation)[component].since == since


def test_what_is_up_says_since_when():
    parts = judged("everything runs")
    assert all(part.since for name, part in parts.items() if name != "database")
    assert parts["persister"].since == rows.ago(900)


def test_the_socket_that_is_down_is_named():
    assert judged("a needed socket is in backoff")["sockets"].reason == "linear: backoff, attempt 3 (refused)"


def test_a_queue_with_other_arguments_is_told_with_what_to_do():
    broker = judged("a queue exists with other arguments")["broker"].shown()
    assert broker["other_arguments"] == {"ws-gateway.trades.model": HINT}
    assert judged("everything runs")["broker"].shown()["other_arguments"] == {}


def test_the_brokers_own_words_are_told():
    broker = judged("the ingestor has lost RabbitMQ, or is blocked by its alarm")["broker"]
    assert broker.reason == "RabbitMQ takes nothing from the ingestor: connection refused"


def test_the_newest_sign_of_life_of_the_exchange_is_told():
    assert health.last_heartbeat_at(evidence()) == rows.ago(4)
    assert health.last_heartbeat_at(evidence(sockets=[])) is None


@pytest.mark.parametrize(
    "late", [[rows.socket(), joining(since_s=6)], [rows.socket(), joining(since_s=4, attempts=1)], [joining(since_s=4)]]
)
def test_one_that_takes_long_or_failed_or_is_the_only_one_is_down(late: list[Any]):
    found = health.sockets(evidence(sockets=late))
    assert found.state == health.DOWN
    assert "connecting" in str(found.reason)
