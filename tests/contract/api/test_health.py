"""What /health reads from the reports of the ingestor."""

from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from structlog.testing import capture_logs

from common.tables import ingestors
from common.tables.ingestors import DeliveryState
from tests.contract.api.conftest import PATH, TRADES, Ingestor

LANE = {"waiting": 0, "confirmed_at": None, "waits_since": None, "waits_s": 0.0}
STUCK = {"waiting": 7, "confirmed_at": None, "waits_since": "2026-08-09T21:26:58+00:00", "waits_s": 2.5}
WELL = DeliveryState(True, datetime.now(UTC), "connected", {"private": LANE, "market": LANE}, None, None)


def beat(engine: Engine, **changed: Any) -> None:
    """One heartbeat of a leading ingestor."""
    delivery = DeliveryState(**{name: changed.get(name, getattr(WELL, name)) for name in DeliveryState.__slots__})
    with engine.begin() as connection:
        ingestors.beat(connection, epoch="E1", host="here", role="leader", generation=1, delivery=delivery)


def components(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/health").get_json()["components"]
    return found


def test_all_is_well(client: FlaskClient, engine: Engine):
    beat(engine)
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("changed", "component", "reason"),
    [
        ({"disk_trouble": "full", "disk_since": datetime.now(UTC)}, "ingestor", "full"),
        (
            {"broker_connected": False, "broker_reason": "blocked by the broker"},
            "broker",
            "RabbitMQ accepts no events: blocked by the broker",
        ),
        ({"lanes": {"private": STUCK, "market": LANE}}, "broker", "RabbitMQ confirms nothing; 7 events are waiting"),
    ],
)
def test_what_keeps_events_from_their_queues_is_red(
    client: FlaskClient, engine: Engine, changed: dict[str, Any], component: str, reason: str
):
    beat(engine, **changed)
    assert client.get("/health").status_code == 503
    found = components(client)[component]
    assert (found["state"], found["reason"]) == ("down", reason)
    assert found["since"]


def test_an_ingestor_that_stopped_is_down_since_then(client: FlaskClient, engine: Engine):
    beat(engine)
    with engine.begin() as connection:
        ingestors.leave(connection, "E1")
    found = components(client)["ingestor"]
    assert (found["state"], found["reason"]) == ("down", "no ingestor is running")
    assert found["since"]
    beat(engine)
    assert components(client)["ingestor"]["state"] == "up"


@pytest.mark.parametrize("path", ["/health", "/health/live", "/ready?service=unknown", "/metrics"])
def test_a_probe_answered_well_is_logged_at_debug_alone(client: FlaskClient, engine: Engine, path: str):
    beat(engine)
    with capture_logs() as lines:
        assert client.get(path).status_code == 200
    assert [line["log_level"] for line in lines if line["event"] == "request"] == ["debug"]


@pytest.mark.parametrize(("path", "status"), [("/health", 503), ("/ready", 422), (PATH, 200)])
def test_a_probe_that_fails_is_logged_like_any_request(client: FlaskClient, path: str, status: int):
    with capture_logs() as lines:
        assert client.get(path).status_code == status
    assert [line["log_level"] for line in lines if line["event"] == "request"] == ["info"]


def test_a_missing_connection_is_down_since_it_is_needed(client: FlaskClient, engine: Engine, ingestor: Ingestor):
    client.post(PATH, json=TRADES)
    ingestor.execute("UPDATE subscriptions SET created_at = now() - interval '1 minute'")
    beat(engine)
    linear = components(client)["sockets"]["endpoints"]["linear"]
    assert (linear["state"], linear["reason"]) == ("down", "there is no connection")
    assert linear["since"]


def test_a_queue_with_other_arguments_is_listed_and_healthy(client: FlaskClient, engine: Engine, ingestor: Ingestor):
    beat(engine)
    ingestor.sees_queue("ws-gateway.trades.model", "trades", "model")
    ingestor.execute("UPDATE queues SET other_arguments = true, reason = 'rabbitmqctl delete_queue it'")
    assert client.get("/health").status_code == 200
    assert components(client)["broker"]["other_arguments"] == {"ws-gateway.trades.model": "rabbitmqctl delete_queue it"}
