"""Read a queue of ws-gateway: in order, no event twice, and told when one is missing. Copy it; it needs pika alone.

    consume("amqp://user:password@host:port/%2F", "ws-gateway.trades.model-service", handle)

`handle(event)` gets each event as a dict; when it returns, the event is acked. If it raises, so does `consume`, and the
event comes again. `on_gap(event)`: the gateway says that a topic may have missed something (`data.state` open), or that
this has ended (closed). `on_loss(topic, epoch, first, last)`: these numbers were published and never came here.
"""

import json
import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from socket import gaierror
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

log = logging.getLogger(__name__)
Event = dict[str, Any]
Topic = tuple[str, str]  # an event's source and subject


def consume(
    url: str, queue: str, handle: Callable[[Event], object], on_gap: Callable[[Event], object] = log.warning,
    on_loss: Callable[[Topic, str, int, int], object] = lambda *lost: log.error("lost: %s", lost),
    stop: threading.Event | None = None, check: "Check | None" = None,
) -> None:  # fmt: skip
    stop, check, failures, parameters = stop or threading.Event(), check or Check(), 0, pika.URLParameters(url)
    parameters.heartbeat = 15

    def received(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        nonlocal failures
        failures, event = 0, json.loads(body)
        if stop.is_set():
            return  # without an ack: it waits for the next start
        if check.is_new(event):
            (on_gap if event["type"] == "bybit.gap" else handle)(event)
            check.remember(event)
        channel.basic_ack(method.delivery_tag)

    while not stop.is_set():
        try:
            with pika.BlockingConnection(parameters) as connection:
                channel = connection.channel()
                channel.queue_declare(queue, passive=True)  # is it there? The gateway makes its queues, nobody else
                channel.basic_qos(prefetch_count=200)
                channel.basic_consume(queue, received)
                while channel.consumer_tags and not stop.is_set():  # a queue that is deleted takes its consumers along
                    connection.process_data_events(1.0)
                    for lost in check.overdue():
                        on_loss(*lost)
                # pika cancels before it closes, and RabbitMQ 4 then serves the next reader before what has no ack is
                # back in its place. At an error the broker closes, and returns that first.
                with suppress(ChannelClosedByBroker):
                    channel.queue_declare("ws-gateway.none", passive=True)
        except (AMQPError, gaierror) as error:
            log.warning("cannot read %s, trying again: %r", queue, error)
        failures += 1
        stop.wait(random.uniform(0, min(20.0, 0.25 * 2 ** min(failures, 7))))  # noqa: S311


class Check:
    """Knows repeats by their id, and what is missing by epoch and sequence; its memory is bounded."""

    def __init__(self, ids: int = 100_000, patience_s: float = 30.0) -> None:
        self.last: dict[Topic, dict[str, int]] = {}  # by epoch. Subscribed to a topic anew? Take it out of here
        self._ids, self._most_ids, self._patience_s = OrderedDict[str, None](), ids, patience_s
        self._holes: list[tuple[Topic, str, int, int, float]] = []  # from, to; a repeat may fill one until it is due

    def is_new(self, event: Event) -> bool:
        topic, epoch, number = (event["source"], event["subject"]), event["epoch"], int(event["sequence"])
        lasts = self.last.setdefault(topic, {})
        expected = 1 if lasts and epoch > max(lasts) else number  # counting begins with the first event of all
        last = lasts.get(epoch, expected - 1)
        if number > last + 1:
            self._holes.append((topic, epoch, last + 1, number - 1, time.monotonic() + self._patience_s))
        for hole in [h for h in self._holes if h[:2] == (topic, epoch) and h[2] <= number <= h[3]]:
            self._holes.remove(hole)
            parts = (hole[2], number - 1), (number + 1, hole[3])
            self._holes += [(topic, epoch, a, b, hole[4]) for a, b in parts if a <= b]
        lasts[epoch] = max(last, number)
        if len(lasts) > 3:
            del lasts[min(lasts)]
        return event["id"] not in self._ids

    def remember(self, event: Event) -> None:
        self._ids[event["id"]] = None
        if len(self._ids) > self._most_ids:
            self._ids.popitem(last=False)

    def overdue(self) -> list[tuple[Topic, str, int, int]]:
        due = [hole for hole in self._holes if hole[4] <= time.monotonic()]
        self._holes = [hole for hole in self._holes if hole not in due]
        return [hole[:4] for hole in due]
