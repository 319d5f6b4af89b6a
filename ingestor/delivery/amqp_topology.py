"""Declares, binds and inspects over AMQP; the broker's answers become values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pika
import structlog
from pika.exceptions import ChannelClosedByBroker

from common import amqp, settings, topology
from common.errors import Unavailable, reported_as
from common.topology import Binding, Queue

log = structlog.get_logger(__name__)

_NOT_FOUND = 404
_PRECONDITION_FAILED = 406
_CHANNELS = 32  # RabbitMQ syncs its disk for each binding, and once for those of several channels together


@dataclass(frozen=True, slots=True)
class QueueDeclared:
    """The queue exists; `mismatch` is the broker's text when its arguments differ (rabbitmq.com/docs/queues)."""

    mismatch: str | None = None


@dataclass(frozen=True, slots=True)
class QueueUnreachable:
    """The queue exists on a node of the cluster that is down; `reply` is the broker's text."""

    reply: str


@dataclass(frozen=True, slots=True)
class InspectedQueue:
    """Messages that are ready for delivery, and consumers."""

    ready: int
    consumers: int


class TopologyConnection:
    """One connection; each method returns when the broker has answered. Raises the errors of `amqp.AWAY`."""

    def __init__(self, connection: pika.BlockingConnection) -> None:
        self._connection = connection
        self._channel: Any = connection.channel()
        self._more_channels: list[Any] = []  # for many bindings at once

    def declare_exchanges(self) -> None:
        self._channel.exchange_declare(topology.EVENTS, "topic", durable=True)
        self._channel.exchange_declare(topology.CONTROL, "direct", durable=True)
        self._channel.exchange_declare(topology.DEAD, "fanout", durable=True)

    def declare(self, queue: Queue) -> QueueDeclared | QueueUnreachable:
        """Create the queue unless it exists."""
        try:
            self._channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
        except ChannelClosedByBroker as closed:
            self._reopen_channel()
            if closed.reply_code == _PRECONDITION_FAILED:
                return QueueDeclared(mismatch=closed.reply_text)
            if closed.reply_code == _NOT_FOUND:  # as the answer to a declare
                return QueueUnreachable(closed.reply_text)
            raise
        return QueueDeclared()

    def inspect(self, name: str) -> InspectedQueue | None:
        """None when the queue does not exist or cannot be reached."""
        try:
            found = self._channel.queue_declare(name, passive=True).method
        except ChannelClosedByBroker as closed:
            self._reopen_channel()
            if closed.reply_code != _NOT_FOUND:
                raise
            return None
        return InspectedQueue(ready=found.message_count, consumers=found.consumer_count)

    def delete(self, name: str) -> None:
        self._channel.queue_delete(name)

    def bind(self, bindings: Sequence[Binding]) -> None:
        """The queues must exist."""
        self._spread(bindings, lambda channel: channel.queue_bind)

    def unbind(self, bindings: Sequence[Binding]) -> None:
        """Bindings that do not exist are skipped."""
        self._spread(bindings, lambda channel: channel.queue_unbind)

    def process_events(self) -> None:
        """Answer heartbeats; called regularly."""
        self._connection.process_data_events(0)

    def close(self) -> None:
        try:
            self._connection.close()
        except amqp.AWAY:
            log.debug("connection already closed")

    def _spread(self, bindings: Sequence[Binding], method_of: Callable[[Any], Callable[..., Any]]) -> None:
        """A channel works in sequence: when it answers the last request, all of its requests are done."""
        channels = self._channels(len(bindings))
        for number, binding in enumerate(bindings):
            below = channels[number % len(channels)]._impl  # pika's blocking channel would wait for each answer
            method_of(below)(binding.queue, binding.exchange, binding.routing_key)
        for channel in channels:
            channel.exchange_declare(topology.EVENTS, "topic", durable=True)

    def _channels(self, number: int) -> list[Any]:
        self._more_channels = [channel for channel in self._more_channels if channel.is_open]
        while 1 + len(self._more_channels) < min(number, _CHANNELS):
            self._more_channels.append(self._connection.channel())
        return [self._channel, *self._more_channels][:number]

    def _reopen_channel(self) -> None:
        """The broker closes a channel with each error that it reports (rabbitmq.com/docs/channels)."""
        self._channel = self._connection.channel()


def connect(rabbitmq: settings.RabbitMQ) -> TopologyConnection:
    """Raises Unavailable."""
    connection = amqp.connect(rabbitmq, "ws-gateway ingestor topology")
    with reported_as(Unavailable, *amqp.AWAY):
        return TopologyConnection(connection)
