"""The private servers, by the objects that tests hold."""

import contextlib
import socket

import pika
import pika.exceptions
import psycopg2
import pytest

from tests.proxy import Proxy
from tests.servers import Broker, Postgres, RabbitMQ
from tests.waiting import eventually


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_role_and_its_database_are_made_at_the_start(own_postgres: Postgres) -> None:
    assert own_postgres.on().execute("SELECT current_user::text, current_database()::text") == [
        ("postgres", "postgres")
    ]


def test_postgres_takes_a_new_password_at_its_next_start(own_postgres: Postgres) -> None:
    before = own_postgres.on()
    own_postgres.stop()
    own_postgres.password = 'it\'s "new" \\ €'
    own_postgres.start()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        before.execute("SELECT 1")


def test_no_password_reaches_the_log_of_postgres(own_postgres: Postgres) -> None:
    assert own_postgres.password not in own_postgres.log()


def test_postgres_keeps_its_data_through_a_kill(own_postgres: Postgres) -> None:
    own_postgres.on().execute("CREATE TABLE kept AS SELECT 1 AS one")
    own_postgres.kill()
    own_postgres.start()
    assert own_postgres.on().execute("SELECT one FROM kept") == [(1,)]


def test_a_paused_postgres_answers_after_it_is_resumed(own_postgres: Postgres) -> None:
    with contextlib.closing(own_postgres.on().connect()) as connection, connection.cursor() as cursor:
        own_postgres.pause()
        with pytest.raises(psycopg2.OperationalError), contextlib.closing(socket.socket()):
            psycopg2.connect(own_postgres.url(), connect_timeout=2)
        own_postgres.resume()
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_rabbitmq_takes_a_new_password_and_leaves_no_process(own_rabbitmq: RabbitMQ) -> None:
    before, family = own_rabbitmq.on(), own_rabbitmq.processes()
    assert len(family) >= 2, "the node and epmd"
    own_rabbitmq.stop()
    for port in (own_rabbitmq.port, own_rabbitmq.management_port, *own_rabbitmq.private_ports):
        assert refused(port)
    own_rabbitmq.password = 'it\'s "new" \\ €'
    own_rabbitmq.start()
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        before.connect()
    assert own_rabbitmq.password not in own_rabbitmq.log()


def test_a_killed_rabbitmq_takes_epmd_along_and_keeps_durable_messages(own_rabbitmq: RabbitMQ) -> None:
    with contextlib.closing(own_rabbitmq.on().connect()) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        channel.basic_publish("", "kept", b"1", pika.BasicProperties(delivery_mode=2))
    own_rabbitmq.kill()
    assert all(map(refused, own_rabbitmq.private_ports))
    own_rabbitmq.start()
    with contextlib.closing(own_rabbitmq.on().connect()) as connection:
        assert connection.channel().queue_declare("kept", passive=True).method.message_count == 1


def test_a_fresh_vhost_holds_nothing_of_another(broker: Broker, rabbitmq: RabbitMQ) -> None:
    with contextlib.closing(broker.connect()) as connection:
        connection.channel().queue_declare("mine")
    assert rabbitmq.on().manage("GET", "queues/%2F") == []


def test_a_proxy_stops_resets_and_plays_deaf(postgres: Postgres) -> None:
    with Proxy(postgres.host, postgres.port) as proxy, socket.create_connection((proxy.host, proxy.port)) as client:
        request = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # SSLRequest, answered with one byte
        client.settimeout(0.3)
        eventually(lambda: proxy.open_connections == 1, 5, "the proxy serves us")
        proxy.deafen()
        client.sendall(request)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.hear()
        client.settimeout(5)
        assert client.recv(1) in b"NS"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        proxy.stop()
        assert refused(proxy.port)
        proxy.start()
        assert not refused(proxy.port)
