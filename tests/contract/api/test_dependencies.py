"""The api while Postgres or RabbitMQ is not as it should be."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pika
import pytest

from common import notifications, topology
from common.notifications import Notification
from tests import conftest
from tests.contract.api.conftest import PATH, TRADES
from tests.contract.api.serving import Answer, Served, served
from tests.kit import servers
from tests.kit.servers import Broker, Database, Postgres
from tests.kit.waiting import eventually

ANSWERED_WITHIN_S = 5.0
_numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    conftest.need("postgres")
    yield from conftest.served(Postgres(tmp_path_factory.mktemp("breakable")))


@pytest.fixture(scope="module")
def administered(server: Postgres) -> Database:
    found = server.on("ledger")
    server.on().execute("CREATE DATABASE ledger")
    servers.migrate(found)
    return found


@pytest.fixture(scope="module")
def api(administered: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """As an ordinary role, whose connections can be limited."""
    password = secrets.token_urlsafe(8)
    administered.execute(f"CREATE ROLE gateway LOGIN PASSWORD '{password}'")
    administered.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO gateway")
    administered.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO gateway")
    mine = replace(administered, user="gateway", password=password)
    with served(mine, tmp_path_factory.mktemp("api")) as found:
        yield found


def ask(api: Served) -> Answer:
    """A new subscription, which has to be answered within the time."""
    subscription = TRADES | {"symbol": f"S{next(_numbers)}"}
    return api.ask("POST", PATH, subscription, within_s=ANSWERED_WITHIN_S)


def is_refused(answer: Answer) -> bool:
    wait_s = int(answer.headers.get("Retry-After", "0"))
    return answer.status == 503 and answer.json["code"] == "unavailable" and 1 <= wait_s <= 5


def health(api: Served) -> tuple[int, dict[str, Any]]:
    answer = api.ask("GET", "/health", within_s=ANSWERED_WITHIN_S)
    return answer.status, answer.json["components"]["database"]


@contextmanager
def recovering(api: Served) -> Iterator[None]:
    """Whatever happens in the block, afterwards the api works again by itself."""
    assert eventually(lambda: ask(api).status == 201, 20, "it works before")
    yield
    assert eventually(lambda: ask(api).status == 201, 20, "it works again")
    assert eventually(lambda: health(api)[1]["state"] == "up", 20, "it says so")


def test_frozen(api: Served, server: Postgres):
    with recovering(api):
        server.pause()
        try:
            with ThreadPoolExecutor(30) as crowd:
                assert all(is_refused(answer) for answer in crowd.map(lambda _: ask(api), range(60)))
            status, database = health(api)
            assert (status, database["state"]) == (503, "down")
            assert database["since"]
            assert api.ask("GET", "/health/live", within_s=ANSWERED_WITHIN_S).status == 200
        finally:
            server.resume()


def test_away(api: Served, server: Postgres):
    with recovering(api):
        server.stop()
        try:
            with ThreadPoolExecutor(30) as crowd:
                assert all(is_refused(answer) for answer in crowd.map(lambda _: ask(api), range(60)))
            assert is_refused(api.ask("GET", PATH, within_s=ANSWERED_WITHIN_S))
            assert is_refused(api.ask("GET", "/ready?service=model", within_s=ANSWERED_WITHIN_S))
            assert health(api)[1]["state"] == "down"
        finally:
            server.start()


def test_locked(api: Served, administered: Database):
    with recovering(api), closing(administered.connect()) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE subscriptions IN ACCESS EXCLUSIVE MODE")
        with ThreadPoolExecutor(30) as crowd:
            assert all(is_refused(answer) for answer in crowd.map(lambda _: ask(api), range(60)))


def test_read_only(api: Served, administered: Database):
    with recovering(api):
        administered.execute("ALTER ROLE gateway SET default_transaction_read_only = on")
        hang_up(administered)
        try:
            assert eventually(lambda: is_refused(ask(api)), 10, "writes are refused")
            assert api.ask("GET", PATH, within_s=ANSWERED_WITHIN_S).status == 200
            assert health(api)[1]["reason"] == "it is read-only"
        finally:
            administered.execute("ALTER ROLE gateway RESET default_transaction_read_only")
            hang_up(administered)


def test_no_connection_left(api: Served, administered: Database):
    with recovering(api):
        administered.execute("ALTER ROLE gateway CONNECTION LIMIT 0")
        hang_up(administered)
        try:
            with ThreadPoolExecutor(30) as crowd:
                assert all(is_refused(answer) for answer in crowd.map(lambda _: ask(api), range(60)))
        finally:
            administered.execute("ALTER ROLE gateway CONNECTION LIMIT -1")


def test_a_caller_does_not_notice_that_connections_were_cut(api: Served, administered: Database):
    with recovering(api):
        hang_up(administered)
        assert ask(api).status == 201


def hang_up(administered: Database) -> None:
    administered.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway'")


def test_an_unavailable_broker_delays_no_request(api: Served):
    """It is unavailable in all tests above, too."""
    assert ask(api).json["status"] == "pending"
    assert [line for line in api.logged() if line.get("dependency") == "rabbitmq"]


def test_the_ingestor_is_notified_at_each_change(
    database: Database, broker: Broker, tmp_path_factory: pytest.TempPathFactory
):
    with closing(broker.connect()) as connection:
        channel = connection.channel()
        channel.exchange_declare(topology.CONTROL, "direct", durable=True)
        channel.queue_declare("notifications", exclusive=True)
        channel.queue_bind("notifications", topology.CONTROL, topology.NOTIFY)
        with served(database, tmp_path_factory.mktemp("notifying"), **broker.environ()) as api:
            added = api.ask("POST", PATH, TRADES, {"X-Request-ID": "first"})
            first = eventually(lambda: _next(channel), 10, "a notification")
            api.ask("POST", PATH, TRADES)
            api.ask("DELETE", f"{PATH}/{added.json['id']}", None, {"X-Request-ID": "second"})
            second = eventually(lambda: _next(channel), 10, "another notification")
    assert (first.trace_id, second.trace_id) == ("first", "second")
    assert second.generation > first.generation > 0


def _next(channel: pika.adapters.blocking_connection.BlockingChannel) -> Notification | None:
    _, _, body = channel.basic_get("notifications", auto_ack=True)
    return notifications.decode(body) if body else None
