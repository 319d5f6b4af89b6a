"""Consumes a queue of ws-gateway: events in sequence, none twice, and a report when one is missing.

Copy this file; it needs nothing but pika.

    consume("amqp://user:password@host:port/%2F", "ws-gateway.trades.model-service", handle)

`handle(event)` receives each event as a dict. When it returns, the event is acknowledged. When it raises, so does
`consume`, and the event is delivered again. `on_gap(event)` receives the gateway's reports that a topic may have missed
data (`data.state` is open), and that this has ended (closed). `on_loss(topic, epoch, first, last)` is called for
sequence numbers that were published and never arrived.
"""

import json
import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from socket import gaierror
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

log = logging.getLogger(__name__)

Event = dict[str, Any]
Topic = tuple[str, str]  # an event's source and subject

HEARTBEAT_S = 15
PREFETCH = 200
FIRST_RETRY_S = 0.25
MAX_RETRY_S = 20.0
EPOCHS_KEPT = 3


def log_loss(topic: Topic, epoch: str, first: int, last: int) -> None:
    log.error("events lost: %s, epoch %s, sequence %d to %d", topic, epoch, first, last)


def consume(
    url: str,
    queue: str,
    handle: Callable[[Event], object],
    on_gap: Callable[[Event], object] = log.warning,
    on_loss: Callable[[Topic, str, int, int], object] = log_loss,
    stop: threading.Event | None = None,
    check: "Check | None" = None,
) -> None:
    """Consume until `stop` is set; reconnects by itself. `check` remembers what arrived: pass it to continue later."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = HEARTBEAT_S
    stop = stop or threading.Event()
    check = check or Check()
    failures = 0

    def received(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        nonlocal failures
        failures = 0
        event = json.loads(body)
        if stop.is_set():
            return  # not acknowledged: it waits for the next start
        if check.is_new(event):
            if event["type"] == "bybit.gap":
                on_gap(event)
            else:
                handle(event)
            check.remember(event)
        channel.basic_ack(method.delivery_tag)

    while not stop.is_set():
        try:
            with pika.BlockingConnection(parameters) as connection:
                channel = connection.channel()
                channel.queue_declare(queue, passive=True)  # fails if it is missing: only the gateway creates queues
                channel.basic_qos(prefetch_count=PREFETCH)
                channel.basic_consume(queue, received)
                while channel.consumer_tags and not stop.is_set():  # a deleted queue takes its consumers along
                    connection.process_data_events(1.0)
                    for topic, epoch, first, last in check.overdue():
                        on_loss(topic, epoch, first, last)
                return_unacknowledged(channel)
        except (AMQPError, gaierror) as error:
            log.warning("cannot consume %s, retrying: %r", queue, error)
        failures += 1
        stop.wait(retry_s(failures))


def return_unacknowledged(channel: Any) -> None:
    """Let the broker close the channel over an error, so that what is not acknowledged keeps its place in the queue.

    pika cancels the consumer before it closes, and RabbitMQ 4 then serves the next consumer before what has no ack is
    back in its place.
    """
    with suppress(ChannelClosedByBroker):
        channel.queue_declare("ws-gateway.none", passive=True)


def retry_s(failures: int) -> float:
    """Exponential, with full jitter."""
    longest_s = min(MAX_RETRY_S, FIRST_RETRY_S * 2 ** min(failures, 7))
    return random.uniform(0, longest_s)  # noqa: S311


@dataclass(frozen=True)
class Hole:
    """Sequence numbers that have not arrived, from `first` to `last`."""

    topic: Topic
    epoch: str
    first: int
    last: int
    overdue_at: float  # until then a redelivery may still fill it

    def contains(self, topic: Topic, epoch: str, number: int) -> bool:
        return (self.topic, self.epoch) == (topic, epoch) and self.first <= number <= self.last

    def without(self, number: int) -> "list[Hole]":
        parts = [replace(self, last=number - 1), replace(self, first=number + 1)]
        return [part for part in parts if part.first <= part.last]


class Check:
    """Recognises repeats by their id, and missing events by epoch and sequence. Its memory is bounded."""

    def __init__(self, ids: int = 100_000, patience_s: float = 30.0) -> None:
        self.last: dict[Topic, dict[str, int]] = {}  # by epoch. After a new subscription, remove the topic from here
        self._max_ids = ids
        self._patience_s = patience_s
        self._ids = OrderedDict[str, None]()
        self._holes: list[Hole] = []

    def is_new(self, event: Event) -> bool:
        """Whether the event was not handled before; its sequence number is counted as arrived."""
        topic = (event["source"], event["subject"])
        epoch = event["epoch"]
        number = int(event["sequence"])
        self._fill(topic, epoch, number)
        self._count(topic, epoch, number)
        return event["id"] not in self._ids

    def remember(self, event: Event) -> None:
        """The event is handled: from now on it is a repeat."""
        self._ids[event["id"]] = None
        if len(self._ids) > self._max_ids:
            self._ids.popitem(last=False)

    def overdue(self) -> list[tuple[Topic, str, int, int]]:
        """What is missing for longer than `patience_s`, each once: topic, epoch, first and last number."""
        now = time.monotonic()
        overdue = [hole for hole in self._holes if hole.overdue_at <= now]
        self._holes = [hole for hole in self._holes if hole.overdue_at > now]
        return [(hole.topic, hole.epoch, hole.first, hole.last) for hole in overdue]

    def _fill(self, topic: Topic, epoch: str, number: int) -> None:
        for hole in [hole for hole in self._holes if hole.contains(topic, epoch, number)]:
            self._holes.remove(hole)
            self._holes += hole.without(number)

    def _count(self, topic: Topic, epoch: str, number: int) -> None:
        epochs = self.last.setdefault(topic, {})
        later_epoch = bool(epochs) and epoch > max(epochs)
        expected = 1 if later_epoch else number  # a later epoch begins with 1; the first event of all begins anywhere
        last = epochs.get(epoch, expected - 1)
        if number > last + 1:
            self._holes.append(Hole(topic, epoch, last + 1, number - 1, time.monotonic() + self._patience_s))
        epochs[epoch] = max(last, number)
        if len(epochs) > EPOCHS_KEPT:
            del epochs[min(epochs)]
