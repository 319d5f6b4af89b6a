"""RabbitMQ over TLS: what is verified, and what an error advises."""

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server

import pytest

import cli.app
from common import amqp, settings, topology
from common.errors import Unavailable
from common.settings import Environment
from ingestor.delivery.amqp_connection import PublishingConnection
from ingestor.delivery.amqp_frames import Confirm
from ingestor.delivery.management import Management
from tests.conftest import need, served
from tests.kit.certificates import Authority, Certificate
from tests.kit.servers import Broker
from tests.kit.tls_servers import TlsRabbitMQ


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def client(authority: Authority) -> dict[str, str]:
    """The settings of a client that has everything."""
    mine = authority.issue("client")
    files = {"RABBITMQ_CERT_FILE": str(mine.file), "RABBITMQ_KEY_FILE": str(mine.key)}
    return {"RABBITMQ_TLS": "true", "RABBITMQ_CA_FILE": str(authority.ca)} | files


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[TlsRabbitMQ]:
    need("rabbitmq")
    yield from served(TlsRabbitMQ(tmp_path_factory.mktemp("tls"), authority.issue("server"), authority.ca))


@pytest.fixture
def broker(server: TlsRabbitMQ) -> Broker:
    return server.over_tls()


def configured(broker: Broker, *more: dict[str, str]) -> settings.RabbitMQ:
    values = broker.environ()
    for each in more:
        values |= each
    return settings.rabbitmq(Environment(values))


def error(broker: Broker, *more: dict[str, str]) -> str:
    with pytest.raises(Unavailable) as refused:
        amqp.connect(configured(broker, *more), "TLS tests").close()
    assert broker.password not in str(refused.value)
    return str(refused.value)


class Listener:
    """Closes the connection as soon as it is open, and keeps what happened."""

    def __init__(self) -> None:
        self.connection: PublishingConnection | None = None
        self.events: list[str] = []

    def opened(self) -> None:
        self.events.append("opened")
        assert self.connection is not None
        self.connection.close()

    def confirmed(self, confirmed: Sequence[Confirm]) -> None: ...

    def refused(self) -> None: ...

    def returned(self, routing_key: str, message_id: str) -> None: ...

    def paused(self, reason: str) -> None: ...

    def resumed(self) -> None: ...

    def closed(self, reason: str) -> None:
        self.events.append(reason)


def published(rabbitmq: settings.RabbitMQ) -> list[str]:
    listener = Listener()
    [parameters] = amqp.parameters(rabbitmq, "TLS tests")
    listener.connection = PublishingConnection(parameters, listener)
    listener.connection.run()
    return listener.events


@contextmanager
def other_server(certificate: Certificate) -> Iterator[int]:
    """The port of a server that ends after the handshake: enough to refuse its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_shake_hands, args=(context, listening))
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)


def _shake_hands(context: ssl.SSLContext, listening: object) -> None:
    accepted, _ = listening.accept()  # type: ignore[attr-defined]
    with accepted, suppress(OSError):
        context.wrap_socket(accepted, server_side=True).close()


def test_everything_that_connects_takes_the_same_settings(broker: Broker, client: dict[str, str]):
    rabbitmq = configured(broker, client)
    with amqp.connect(rabbitmq, "TLS tests") as connection:
        connection.channel().queue_declare(topology.DEAD, durable=True)
    assert published(rabbitmq)[0] == "opened"
    management = Management(rabbitmq)
    management.refresh()
    assert topology.DEAD in management.by_queue


def test_the_command_takes_a_url(broker: Broker, client: dict[str, str], capsys: pytest.CaptureFixture[str]):
    with amqp.connect(configured(broker, client), "TLS tests") as connection:
        connection.channel().queue_declare(topology.DEAD, durable=True)
    url = broker.url().replace("amqp://", "amqps://")
    assert cli.app.main(["dead", "list"], client | {"RABBITMQ_URL": url}) == 0
    assert f"0 in {topology.DEAD}" in capsys.readouterr().err


def test_a_missing_client_certificate_is_named(broker: Broker, authority: Authority):
    found = error(broker, {"RABBITMQ_TLS": "true", "RABBITMQ_CA_FILE": str(authority.ca)})
    assert "RABBITMQ_CERT_FILE and RABBITMQ_KEY_FILE" in found


def test_a_client_certificate_of_another_ca_is_refused(broker: Broker, client: dict[str, str], tmp_path: Path):
    theirs = Authority(tmp_path, "theirs").issue("client")
    found = error(broker, client, {"RABBITMQ_CERT_FILE": str(theirs.file), "RABBITMQ_KEY_FILE": str(theirs.key)})
    assert "RABBITMQ_CERT_FILE" in found  # the alert says more, where it arrives before the end of the connection


def test_another_ca_is_refused(broker: Broker, client: dict[str, str], tmp_path: Path):
    wrong = {"RABBITMQ_CA_FILE": str(Authority(tmp_path, "theirs").ca)}
    advice = "(RABBITMQ_CA_FILE must contain the CA that signed the server's certificate"
    assert advice in error(broker, client, wrong)
    assert advice in published(configured(broker, client, wrong))[-1]


def test_another_name_is_refused(broker: Broker, client: dict[str, str]):
    found = error(broker, client, {"RABBITMQ_HOST": "localhost"})
    assert "(RABBITMQ_HOST must be a name in the server's certificate)" in found


def test_an_expired_certificate_is_refused(broker: Broker, client: dict[str, str], authority: Authority):
    with other_server(authority.issue("expired", days=-1)) as port:
        found = error(broker, client, {"RABBITMQ_PORT": str(port)})
    assert "(renew the server's certificate, or check the clock of this machine)" in found


def test_a_port_without_tls_is_named(server: TlsRabbitMQ, broker: Broker, client: dict[str, str]):
    found = error(broker, client, {"RABBITMQ_PORT": str(server.port)})
    assert "(this port does not use TLS: check RABBITMQ_PORT and RABBITMQ_TLS)" in found


def test_a_client_without_tls_is_advised_to_use_it(broker: Broker):
    assert "(the server may require TLS or a client certificate: check RABBITMQ_TLS" in error(broker)


@pytest.mark.parametrize("name", ["RABBITMQ_CA_FILE", "RABBITMQ_CERT_FILE", "RABBITMQ_KEY_FILE"])
def test_a_file_that_cannot_be_read_is_named(broker: Broker, client: dict[str, str], name: str, tmp_path: Path):
    found = error(broker, client, {name: f"{tmp_path}/none"})
    assert f"{name}={tmp_path}/none" in found
    assert "must be" in found
    assert "FileNotFoundError" in found


def test_the_management_plugin_is_verified_too(broker: Broker, client: dict[str, str], tmp_path: Path):
    management = Management(configured(broker, client, {"RABBITMQ_CA_FILE": str(Authority(tmp_path, "theirs").ca)}))
    management.refresh()
    assert management.by_queue == {}
