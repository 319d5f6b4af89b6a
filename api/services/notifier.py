"""Tells the ingestor to look at Postgres again, as well as it can be told."""

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

_LOOKED_AFTER_S = 1.0  # an idle connection wants its heartbeats answered
_MOST_WAITING = 100
_PROPERTIES = pika.BasicProperties(content_type="application/json", expiration="60000")


class Notifier(Protocol):
    """Never waits and never fails: the ingestor looks by itself every few seconds."""

    def notify(self, notification: Notification) -> None: ...


class BrokerNotifier:
    """One thread with one connection; what cannot be sent soon is not worth sending."""

    name = "notifier"

    def __init__(self, connect: Callable[[], pika.BlockingConnection]) -> None:
        self._connect = connect
        self._waiting: Queue[Notification] = Queue(_MOST_WAITING)

    def notify(self, notification: Notification) -> None:
        try:
            self._waiting.put_nowait(notification)
        except Full:
            metrics.NOTIFICATIONS.labels("dropped").inc()

    def run(self, stop: threading.Event) -> None:
        keep_trying(lambda backoff: self._pass_on(stop, backoff), stop, dependency="rabbitmq")

    def _pass_on(self, stop: threading.Event, backoff: Backoff) -> None:
        connection = self._connect()
        try:
            with reported_as(Unavailable, *amqp.AWAY):
                channel = connection.channel()
                while not stop.is_set():
                    self._pass_one(channel)
                    connection.process_data_events(0)
                    backoff.reset()
        finally:
            _close(connection)

    def _pass_one(self, channel: pika.adapters.blocking_connection.BlockingChannel) -> None:
        try:
            notification = self._waiting.get(timeout=_LOOKED_AFTER_S)
            while not self._waiting.empty():  # the newest says it all
                notification = self._waiting.get_nowait()
        except Empty:
            return
        channel.basic_publish(topology.CONTROL, topology.NOTIFY, encode(notification), _PROPERTIES)
        metrics.NOTIFICATIONS.labels("sent").inc()


def _close(connection: pika.BlockingConnection) -> None:
    with reported_as(Unavailable, *amqp.AWAY):
        if connection.is_open:
            connection.close()
