"""Notifies the ingestor that the desired state has changed."""

import threading
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import Protocol

import pika

from api import metrics
from common import amqp, topology
from common.backoff import Backoff
from common.errors import Unavailable, reported_as
from common.notifications import Notification, encode
from common.retrying import keep_trying

_POLL_EVERY_S = 1.0  # an idle connection has to answer heartbeats
_MAX_WAITING = 100
_PROPERTIES = pika.BasicProperties(content_type="application/json", expiration="60000")


class Notifier(Protocol):
    """Never waits and never fails: the ingestor reads the desired state every few seconds anyway."""

    def notify(self, notification: Notification) -> None: ...


class BrokerNotifier:
    """One thread with one connection; a notification that cannot be sent soon is dropped."""

    name = "notifier"

    def __init__(self, connect: Callable[[], pika.BlockingConnection]) -> None:
        self._connect = connect
        self._waiting: Queue[Notification] = Queue(_MAX_WAITING)

    def notify(self, notification: Notification) -> None:
        try:
            self._waiting.put_nowait(notification)
        except Full:
            metrics.NOTIFICATIONS.labels("dropped").inc()

    def run(self, stop: threading.Event) -> None:
        keep_trying(lambda backoff: self._send_all(stop, backoff), stop, dependency="rabbitmq")

    def _send_all(self, stop: threading.Event, backoff: Backoff) -> None:
        connection = self._connect()
        try:
            with reported_as(Unavailable, *amqp.AWAY):
                channel = connection.channel()
                while not stop.is_set():
                    self._send_next(channel)
                    connection.process_data_events(0)
                    backoff.reset()
        finally:
            _close(connection)

    def _send_next(self, channel: pika.adapters.blocking_connection.BlockingChannel) -> None:
        try:
            notification = self._waiting.get(timeout=_POLL_EVERY_S)
            while not self._waiting.empty():  # the newest generation includes the others
                notification = self._waiting.get_nowait()
        except Empty:
            return
        channel.basic_publish(topology.CONTROL, topology.NOTIFY, encode(notification), _PROPERTIES)
        metrics.NOTIFICATIONS.labels("sent").inc()


def _close(connection: pika.BlockingConnection) -> None:
    with reported_as(Unavailable, *amqp.AWAY):
        if connection.is_open:
            connection.close()
