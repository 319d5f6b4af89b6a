"""The thread that publishes one lane's events, over one connection after the other."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import pika

from common import amqp, settings
from common.backoff import Backoff
from common.errors import Unavailable
from ingestor.delivery.amqp_connection import ConnectionListener, PublishingConnection
from ingestor.delivery.broker_link import Link
from ingestor.delivery.outbox import Lane
from ingestor.delivery.pipeline import Pipeline, PublishConnection, TopologyRepair
from ingestor.delivery.queue_monitor import Traffic

_TICK_S = 0.25
_SWEEP_S = 1.0
_SPILL_AFTER_S = 1.0


class RunnableConnection(PublishConnection, Protocol):
    def run(self) -> None:
        """Serve the connection until it ends."""


Connect = Callable[[pika.ConnectionParameters, ConnectionListener], RunnableConnection]


@dataclass(slots=True)
class LaneMaintenance:
    """Keeps a lane's spool up to date: at most once a second, however often it is called."""

    lane: Lane
    retention_s: float | None
    _swept_at: float = float("-inf")

    def run(self, now: float, unix_s: float, unavailable_since: float | None) -> None:
        """Spill while the broker is unavailable; remove confirmed events, and those older than the retention."""
        if now - self._swept_at < _SWEEP_S:
            return
        self._swept_at = now
        if unavailable_since is not None and now - unavailable_since > _SPILL_AFTER_S:
            self.lane.spill()
        self.lane.sweep(unix_s - self.retention_s if self.retention_s else None)


class Publisher:
    """Owns one connection at a time.

    A queue that accepts nothing holds up its whole channel, so private events and market data have one each.
    """

    def __init__(
        self,
        name: str,
        lane: Lane,
        rabbitmq: settings.RabbitMQ,
        topology: TopologyRepair,
        traffic: Traffic,
        window: int,
        retention_s: float | None = None,
        connect: Connect = PublishingConnection,
    ) -> None:
        self.name = f"publisher {name}"
        self._lane = lane
        self._rabbitmq = rabbitmq
        self._connect = connect
        self._backoff = Backoff(first_s=0.2, most_s=5.0)
        self._pipeline = Pipeline(self.name, lane, topology, traffic, window, self._backoff.reset)
        self._maintenance = LaneMaintenance(lane, retention_s)

    @property
    def link(self) -> Link:
        return self._pipeline.link

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            for parameters in self._hosts():
                self._serve(parameters, stop)
                if stop.is_set():
                    break
            self._wait(stop)
        self._lane.close()

    def _hosts(self) -> list[pika.ConnectionParameters]:
        try:
            return amqp.parameters(self._rabbitmq, f"ws-gateway ingestor {self.name}")
        except Unavailable as error:
            self._pipeline.paused(str(error))
            return []

    def _serve(self, parameters: pika.ConnectionParameters, stop: threading.Event) -> None:
        connection = self._connect(parameters, self._pipeline)
        self._pipeline.attach(connection)
        connection.call_later(0.0, partial(self._tick, connection, stop))
        connection.run()

    def _tick(self, connection: RunnableConnection, stop: threading.Event) -> None:
        connection.call_later(_TICK_S, partial(self._tick, connection, stop))
        self._pipeline.tick(time.monotonic(), stopping=stop.is_set())
        self._maintain()

    def _maintain(self) -> None:
        self._maintenance.run(time.monotonic(), time.time(), self._pipeline.unavailable_since)

    def _wait(self, stop: threading.Event) -> None:
        """Between two connections the lane still needs maintenance."""
        until = time.monotonic() + self._backoff.next_s()
        while not stop.is_set() and time.monotonic() < until:
            self._maintain()
            stop.wait(min(_TICK_S, max(0.0, until - time.monotonic())))
