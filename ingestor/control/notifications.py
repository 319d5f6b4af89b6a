"""Receives the api's notifications that subscriptions changed."""

import threading
from collections.abc import Callable
from typing import Any

from common import amqp, notifications, settings, topology
from common.backoff import Backoff
from common.errors import Unavailable, reported_as
from common.notifications import Notification
from common.retrying import keep_trying

_LISTEN_S = 1.0
_MAX_WAITING = 1000


class NotificationListener:
    """Owns a connection and an exclusive queue, which ends with it; calls `notified` with each notification."""

    name = "notifications"

    def __init__(self, rabbitmq: settings.RabbitMQ, epoch: str, notified: Callable[[Notification], None]) -> None:
        self._rabbitmq = rabbitmq
        self._queue = topology.control_queue(epoch)
        self._notified = notified

    def run(self, stop: threading.Event) -> None:
        keep_trying(lambda backoff: self._listen(stop, backoff), stop, "rabbitmq", Backoff(0.2, 5.0))

    def _listen(self, stop: threading.Event, backoff: Backoff) -> None:
        connection = amqp.connect(self._rabbitmq, "ws-gateway ingestor notifications")
        with reported_as(Unavailable, *amqp.AWAY):
            try:
                self._consume(connection.channel())
                backoff.reset()
                while not stop.is_set():
                    connection.process_data_events(_LISTEN_S)
            finally:
                if connection.is_open:
                    connection.close()

    def _consume(self, channel: Any) -> None:
        channel.exchange_declare(topology.CONTROL, "direct", durable=True)
        limits = {"x-max-length": _MAX_WAITING, "x-overflow": "drop-head"}
        channel.queue_declare(self._queue, exclusive=True, auto_delete=True, arguments=limits)
        channel.queue_bind(self._queue, topology.CONTROL, topology.NOTIFY)
        channel.basic_consume(self._queue, self._received, auto_ack=True)

    def _received(self, _channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        self._notified(notifications.decode(body))
