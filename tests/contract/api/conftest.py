"""The whole app on a database of the test's own."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from api.app import create
from api.settings import Rates, Settings
from common import database as databases
from common.notifications import Notification
from tests.kit.servers import Database

ADMINISTRATOR_KEY = "the-administrators-key"
PATH = "/api/v1/subscriptions"
TRADES = {"channel_type": "trades", "symbol": "BTCUSDT", "requesting_service": "model"}
UNLIMITED = Rates(of_a_key=1_000_000, of_an_address=1_000_000)


class Notifications(list[Notification]):
    """Remembers notifications instead of sending them."""

    def notify(self, notification: Notification) -> None:
        self.append(notification)


class Ingestor:
    """Writes what a real one would report."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def leads(self, generation: int = 10**9, age_s: float = 0, broker: bool = True, epoch: str = "E1") -> None:
        self.execute(
            "INSERT INTO ingestors (epoch, host, started_at, heartbeat_at, role, generation, broker_connected,"
            " broker_since) VALUES (:epoch, 'here', now() - interval '1 hour', now() - make_interval(secs => :age_s),"
            " 'leader', :generation, :broker, now() - interval '1 minute') ON CONFLICT (epoch) DO UPDATE SET"
            " heartbeat_at = excluded.heartbeat_at, generation = excluded.generation,"
            " broker_connected = excluded.broker_connected",
            epoch=epoch,
            age_s=age_s,
            generation=generation,
            broker=broker,
        )

    def delivers(self) -> None:
        """An event was confirmed just now, and none waits."""
        lane = "jsonb_build_object('waiting', 0, 'confirmed_at', to_char(now() AT TIME ZONE 'UTC', :form))"
        form = 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
        self.execute(f"UPDATE ingestors SET lanes = jsonb_build_object('market', {lane}, 'private', {lane})", form=form)

    def holds(self, topic: str, state: str = "live", reason: str | None = None, endpoint: str = "linear") -> None:
        self.execute(
            "INSERT INTO topics (endpoint, topic, channel_type, state, reason, epoch, acked_at, last_event_at, events)"
            " VALUES (:endpoint, :topic, 'trades', :state, :reason, 'E1', now(), now(), 7)"
            " ON CONFLICT (endpoint, topic) DO UPDATE SET state = excluded.state, reason = excluded.reason",
            endpoint=endpoint,
            topic=topic,
            state=state,
            reason=reason,
        )

    def connected(self, endpoint: str = "linear", state: str = "live", age_s: float = 0) -> None:
        self.execute(
            "INSERT INTO connections (epoch, endpoint, socket_no, state, since, attempts, last_heartbeat_at,"
            " updated_at) VALUES"
            " ('E1', :endpoint, 1, :state, now(), 1, now(), now() - make_interval(secs => :age_s))"
            " ON CONFLICT (epoch, endpoint, socket_no) DO UPDATE SET state = excluded.state",
            endpoint=endpoint,
            state=state,
            age_s=age_s,
        )

    def sees_queue(self, name: str, event_class: str, service: str, consumers: int = 1, age_s: float = 0) -> None:
        self.execute(
            "INSERT INTO queues (name, class, service, ready, consumers, observed_at)"
            " VALUES (:name, :event_class, :service, 3, :consumers, now() - make_interval(secs => :age_s))",
            name=name,
            event_class=event_class,
            service=service,
            consumers=consumers,
            age_s=age_s,
        )

    def lists(self, category: str, *symbols: str, status: str = "Trading") -> None:
        for symbol in symbols:
            self.execute(
                "INSERT INTO instruments (category, symbol, base_coin, quote_coin, status)"
                " VALUES (:category, :symbol, :coin, 'USDT', :status)",
                category=category,
                symbol=symbol,
                coin=symbol[:3],
                status=status,
            )

    def execute(self, statement: str, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(text(statement), values)


@pytest.fixture
def settings(database: Database) -> Settings:
    found = Settings.from_env(
        database.environ() | {"RABBITMQ_PASSWORD": "unused", "WS_GATEWAY_API_KEY": ADMINISTRATOR_KEY}
    )
    return replace(found, rates=UNLIMITED)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    made = databases.engine(settings.postgres, "api tests", pool_size=8, max_overflow=8)
    yield made
    made.dispose()


@pytest.fixture
def notifications() -> Notifications:
    return Notifications()


@pytest.fixture
def ingestor(engine: Engine) -> Ingestor:
    return Ingestor(engine)


@pytest.fixture
def client(settings: Settings, engine: Engine, notifications: Notifications) -> FlaskClient:
    """Sends the administrator's key."""
    return asking(create(settings, engine, notifications).test_client(), ADMINISTRATOR_KEY)


@pytest.fixture
def impatient_client(settings: Settings, engine: Engine, notifications: Notifications) -> FlaskClient:
    """`client` of an api that does not wait for a comparison with the exchange."""
    app = create(settings, engine, notifications, sync_wait_s=0.0)
    return asking(app.test_client(), ADMINISTRATOR_KEY)


@pytest.fixture
def service_client(client: FlaskClient) -> Callable[[str], FlaskClient]:
    """Sends a key of the service."""

    def made(service: str) -> FlaskClient:
        key = body(client.post("/api/v1/keys", json={"service": service}))["key"]
        return asking(client.application.test_client(), key)

    return made


def asking(client: FlaskClient, key: str) -> FlaskClient:
    client.environ_base["HTTP_X_API_KEY"] = key
    return client


def body(answer: TestResponse) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json


def code(answer: TestResponse) -> tuple[int, str]:
    """The status and code of a problem."""
    assert answer.content_type == "application/problem+json", answer.text
    assert answer.json is not None
    assert answer.json["status"] == answer.status_code
    return answer.status_code, answer.json["code"]
