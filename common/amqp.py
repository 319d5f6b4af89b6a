"""Connections to RabbitMQ."""

import random
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed, AMQPConnectorPhaseErrorBase
from pika.exceptions import AMQPError

from common import settings, tls
from common.errors import Unavailable
from common.foreign import plain

HEARTBEAT_S = 15
BLOCKED_FOR_S = 30
"""How long the broker may block a connection, because of an alarm, before the connection is closed."""

_TCP = {"TCP_USER_TIMEOUT": 10000, "TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
AWAY = (AMQPError, OSError)


def parameters(
    rabbitmq: settings.RabbitMQ, connection_name: str, heartbeat_s: int = HEARTBEAT_S
) -> list[pika.ConnectionParameters]:
    """Connection parameters for each host, in random order: nodes of a cluster share the load, a dead one is skipped.

    Raises Unavailable while a file with a certificate cannot be read, because it may just be being replaced.
    """
    hosts = random.sample(rabbitmq.hosts, k=len(rabbitmq.hosts))
    return [
        pika.ConnectionParameters(
            host=host,
            port=port,
            virtual_host=rabbitmq.vhost,
            credentials=pika.PlainCredentials(rabbitmq.user, rabbitmq.password, erase_on_connect=False),
            ssl_options=_tls(rabbitmq, host),
            heartbeat=heartbeat_s,
            blocked_connection_timeout=BLOCKED_FOR_S,
            socket_timeout=3,
            stack_timeout=5,
            connection_attempts=1,
            tcp_options=_TCP,
            client_properties={"connection_name": connection_name},
        )
        for host, port in hosts
    ]


def connect(
    rabbitmq: settings.RabbitMQ, connection_name: str, heartbeat_s: int = HEARTBEAT_S
) -> pika.BlockingConnection:
    """Open a blocking connection, for work at a low rate; raises Unavailable."""
    hosts = parameters(rabbitmq, connection_name, heartbeat_s)
    try:
        return pika.BlockingConnection(hosts)
    except AWAY as error:
        raise Unavailable(reason(error)) from error


def reason(error: object) -> str:
    """The error of a connection as text, with the setting to change where TLS failed."""
    if isinstance(error, AMQPConnectionWorkflowFailed):  # its own text is empty
        return reason(error.exceptions[-1])
    if isinstance(error, AMQPConnectorPhaseErrorBase):
        return reason(error.exception)
    return plain(tls.explained(f"{type(error).__name__}: {error}".rstrip(": "), tls.RABBITMQ))


def tls_context(rabbitmq: settings.RabbitMQ) -> ssl.SSLContext:
    """Verifies the broker and its name, and presents the client certificate if there is one. Raises Unavailable."""
    with _naming(f"RABBITMQ_CA_FILE={rabbitmq.ca_file} must be a readable PEM file"):
        context = ssl.create_default_context(cafile=rabbitmq.ca_file or None)
    if rabbitmq.cert_file:
        files = f"RABBITMQ_CERT_FILE={rabbitmq.cert_file} and RABBITMQ_KEY_FILE={rabbitmq.key_file}"
        with _naming(f"{files} must be readable PEM files that belong together, the key without a passphrase"):
            context.load_cert_chain(rabbitmq.cert_file, rabbitmq.key_file, password="")
    return context


def _tls(rabbitmq: settings.RabbitMQ, host: str) -> pika.SSLOptions | None:
    return pika.SSLOptions(tls_context(rabbitmq), host) if rabbitmq.tls else None


@contextmanager
def _naming(requirement: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise Unavailable(plain(f"{requirement} ({type(error).__name__}: {error})")) from error
