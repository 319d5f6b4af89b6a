"""Lists of hosts: which one is used, and how long one that is away holds up the others."""

import socket
import time
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from common import amqp, settings
from common import database as databases
from common.settings import Environment
from tests.kit.servers import Broker, Database, free_port

INSERT = text("INSERT INTO instruments VALUES ('linear', 'BTCUSDT', 'BTC', 'USDT', 'Trading')")


@pytest.fixture
def frozen() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def postgres(database: Database, *first: int) -> settings.Postgres:
    """The database behind hosts that do not serve."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in (*first, database.port))
    return settings.postgres(Environment(database.environ() | {"POSTGRES_HOST": hosts}))


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    made = databases.engine(postgres(database, free_port()), "failover tests")
    yield made
    made.dispose()


def test_a_database_host_that_is_away_is_skipped(engine: Engine):
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_frozen_database_host_costs_its_limit_once(database: Database, frozen: int):
    connector = databases.Connector(postgres(database, frozen), "failover tests")
    began_at = time.monotonic()
    connector.connect().close()
    assert databases.CONNECTED_WITHIN_S <= time.monotonic() - began_at < 2 * databases.CONNECTED_WITHIN_S
    began_at = time.monotonic()
    connector.connect().close()
    assert time.monotonic() - began_at < 1.0


def test_a_caller_who_waits_less_finds_the_next_host_first(database: Database, frozen: int):
    connector = databases.Connector(postgres(database, frozen), "failover tests")
    with databases.ends_within(0.2), pytest.raises(psycopg2.OperationalError, match="did not answer within"):
        connector.connect()
    with databases.ends_within(2.0):
        connector.connect().close()


def test_the_error_of_each_database_host_is_reported(database: Database):
    ports = free_port(), free_port()
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    found = settings.postgres(Environment(database.environ() | {"POSTGRES_HOST": hosts}))
    with pytest.raises(psycopg2.OperationalError) as refused:
        databases.Connector(found, "failover tests").connect()
    assert [f"127.0.0.1:{port}: " in str(refused.value) for port in ports] == [True, True]


def test_a_standby_is_skipped_among_several_hosts(database: Database, engine: Engine):
    database.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    with pytest.raises(DBAPIError, match="session is read-only"), engine.connect():
        pass
    alone = databases.engine(postgres(database), "failover tests")
    with alone.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    alone.dispose()


def test_pooled_connections_to_a_former_primary_are_closed(engine: Engine):
    with engine.connect() as connection:
        connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
        connection.commit()
        with pytest.raises(DBAPIError, match="read-only transaction"):
            connection.execute(INSERT)
    with engine.begin() as connection:
        assert connection.execute(INSERT).rowcount == 1


def test_a_broker_host_that_is_away_is_skipped(broker: Broker):
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{broker.port},127.0.0.1:{free_port()}"
    rabbitmq = settings.rabbitmq(Environment(broker.environ() | {"RABBITMQ_HOST": hosts}))
    for _ in range(5):  # the sequence is random
        amqp.connect(rabbitmq, "failover tests").close()
