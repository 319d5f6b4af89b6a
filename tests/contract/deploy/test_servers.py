"""The private servers, by the objects that tests hold."""

import contextlib
import os
import socket
from pathlib import Path

import pika
import pika.exceptions
import psycopg2
import pytest

from tests.conftest import need
from tests.kit.proxy import Proxy
from tests.kit.servers import Broker, Postgres, RabbitMQ, Server
from tests.kit.waiting import eventually


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def refusal(server: Server) -> str:
    """The output of a server that ends before it accepts connections."""
    server.begin()
    eventually(lambda: not server.running, 30, "the server ends")
    return server.log()


@pytest.fixture
def new_postgres(tmp_path: Path) -> Postgres:
    """One that has not been started."""
    need("postgres")
    return Postgres(tmp_path)


@pytest.fixture
def new_rabbitmq(tmp_path: Path) -> RabbitMQ:
    need("rabbitmq")
    return RabbitMQ(tmp_path)


def test_a_data_folder_that_is_not_ours_is_left_alone(new_postgres: Postgres) -> None:
    theirs = new_postgres.folder / "data" / "base"
    theirs.mkdir(parents=True)
    assert f"{theirs.parent} holds files, but no database that ws-gateway made" in refusal(new_postgres)
    assert theirs.exists()


def test_an_interrupted_initdb_is_done_again(new_postgres: Postgres) -> None:
    unfinished = new_postgres.folder / "data.making"
    (unfinished / "data" / "base").mkdir(parents=True)
    (unfinished / "ws-gateway.making").touch()
    try:
        new_postgres.start()
        assert new_postgres.on().execute("SELECT 1") == [(1,)]
    finally:
        new_postgres.kill()
    assert not unfinished.exists()


def test_a_folder_in_the_place_of_an_interrupted_initdb_is_left_alone(new_postgres: Postgres) -> None:
    theirs = new_postgres.folder / "data.making" / "theirs"
    theirs.mkdir(parents=True)
    assert f"{theirs.parent} holds files that are not ours" in refusal(new_postgres)
    assert theirs.exists()


def test_postgres_does_not_open_the_data_of_an_older_version(new_postgres: Postgres) -> None:
    data = new_postgres.folder / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("9\n")
    (data / "ws-gateway.complete").touch()
    output = refusal(new_postgres)
    assert f"{data} was written by PostgreSQL 9, and PostgreSQL" in output
    assert "Install postgresql-9 beside it" in output
    assert sorted(path.name for path in data.iterdir()) == ["PG_VERSION", "ws-gateway.complete"]


def test_rabbitmq_does_not_open_the_data_of_another_version(new_rabbitmq: RabbitMQ) -> None:
    data = new_rabbitmq.folder / "data"
    data.mkdir()
    (data / "ws-gateway.version").write_text("2.8.7")
    assert f"{data} was written by RabbitMQ 2.8.7, and RabbitMQ" in refusal(new_rabbitmq)
    assert [path.name for path in data.iterdir()] == ["ws-gateway.version"]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs everything as itself")
def test_root_gives_a_server_what_root_held_of_its_data(own_rabbitmq: RabbitMQ) -> None:
    own_rabbitmq.stop()
    data = own_rabbitmq.folder / "data"
    owner = data.stat().st_uid
    for path in (data, *data.rglob("*")):
        os.chown(path, 0, 0, follow_symlinks=False)
    own_rabbitmq.start()
    assert owner != 0
    assert {path.stat().st_uid for path in (data, *data.rglob("*.config"))} == {owner}


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
            psycopg2.connect(own_postgres.url(), connect_timeout=2, gssencmode="disable")
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
    assert "mine" not in {queue["name"] for queue in rabbitmq.on().manage("GET", "queues/%2F")}


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
