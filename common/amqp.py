"""Connections to RabbitMQ."""

import random
import ssl

import pika
from pika.exceptions import AMQPError

from common import settings
from common.errors import Unavailable, reported_as

HEARTBEAT_S = 15
BLOCKED_FOR_S = 30
"""How long the broker may block a connection, because of an alarm, before the connection is closed."""

_TCP = {"TCP_USER_TIMEOUT": 10000, "TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
AWAY = (AMQPError, OSError)


def parameters(
    rabbitmq: settings.RabbitMQ, connection_name: str, heartbeat_s: int = HEARTBEAT_S
) -> list[pika.ConnectionParameters]:
    """Connection parameters for each host, in random order: nodes of a cluster share the load, a dead one is skipped.

    Raises Unavailable while the CA file cannot be read, because it may just be being replaced.
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
    with reported_as(Unavailable, *AWAY):
        return pika.BlockingConnection(parameters(rabbitmq, connection_name, heartbeat_s))


def _tls(rabbitmq: settings.RabbitMQ, host: str) -> pika.SSLOptions | None:
    if not rabbitmq.tls:
        return None
    with reported_as(Unavailable, OSError, ValueError):
        return pika.SSLOptions(ssl.create_default_context(cafile=rabbitmq.ca_file or None), host)
