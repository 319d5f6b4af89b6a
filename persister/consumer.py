"""The thread that reads the balance queue and sees each message written."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import pika
import structlog
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from common import amqp
from common.errors import BadMessage, Unavailable, reported_as
from common.foreign import plain
from common.retrying import Backoff, keep_trying
from common.topology import BALANCE_QUEUE, DEAD, PERSISTER
from persister import message, metrics
from persister.batch import Batch, Pace
from persister.message import Balances

log = structlog.get_logger(__name__)

_MOST_MESSAGES = 100
_HEAVIEST_BYTES = 4 * 2**20
_UNACKED = 2 * _MOST_MESSAGES  # one batch is written while the next one travels
_NO_QUEUE = f"{BALANCE_QUEUE}.leaving"  # as it will stand in the broker's log
_TICK_S = 0.5  # how long a stop may go unnoticed
_QUEUE_LOOKED_FOR_EVERY_S = 1.0
_QUEUE_MADE_WITHIN_S = 30.0  # by an ingestor that starts together with us
_NOT_FOUND = 404
_LONGEST_WAIT_S = 5.0  # shorter than elsewhere: while we wait, balances are late


class Ledger(Protocol):
    def open(self) -> None: ...

    def write(self, events: Sequence[Balances]) -> None: ...


@dataclass(frozen=True, slots=True)
class Delivery:
    tag: int
    routing_key: str
    properties: pika.BasicProperties
    body: bytes

    @property
    def weight(self) -> int:
        return len(self.body)


class Consumer:
    """Postgres first, then the queue: nobody holds deliveries that cannot be written."""

    name = "consumer"

    def __init__(
        self,
        connect: Callable[[], pika.BlockingConnection],
        ledger: Ledger,
        queue_made_within_s: float = _QUEUE_MADE_WITHIN_S,
    ) -> None:
        self._connect = connect
        self._ledger = ledger
        self._queue_made_within_s = queue_made_within_s
        self._told = False
        self._pace = Pace(_MOST_MESSAGES, _MOST_MESSAGES)

    def run(self, stop: threading.Event) -> None:
        patience = Backoff(most_s=_LONGEST_WAIT_S)
        keep_trying(partial(self._consume, stop), stop, neighbour="rabbitmq or postgres", backoff=patience)

    def _consume(self, stop: threading.Event, backoff: Backoff) -> None:
        if backoff.failures <= 1:
            self._told = False  # something was written since it was said last
        self._ledger.open()
        with reported_as(Unavailable, *amqp.AWAY), hanging_up(self._connect()) as connection:
            if not self._queue_is_made(connection, stop):
                return
            conversation = Conversation(connection, self._ledger, self._pace)
            conversation.begin()
            self._tell()
            try:
                with metrics.consuming.track_inprogress():
                    while not stop.is_set():
                        conversation.go_on(backoff)
            finally:
                conversation.end()

    def _queue_is_made(self, connection: pika.BlockingConnection, stop: threading.Event) -> bool:
        """Wait for the queue, which is the ingestor's to make; False when we are stopped before."""
        warn_at: float | None = time.monotonic() + self._queue_made_within_s
        waiting = False
        while not (made := queue_exists(connection)) and not stop.is_set():
            if not waiting:
                log.info("waiting for the balance queue", queue=BALANCE_QUEUE)
                waiting = True
            if warn_at is not None and time.monotonic() >= warn_at:
                log.warning("balance queue missing", queue=BALANCE_QUEUE, waited_s=self._queue_made_within_s)
                warn_at = None
            stop.wait(_QUEUE_LOOKED_FOR_EVERY_S)
        return made

    def _tell(self) -> None:
        if not self._told:
            log.info("reading balances", queue=BALANCE_QUEUE)
        self._told = True


class Conversation:
    """One connection's life with the queue."""

    def __init__(self, connection: pika.BlockingConnection, ledger: Ledger, pace: Pace) -> None:
        self._connection = connection
        self._ledger = ledger
        self._pace = pace
        self._waiting: Batch[Delivery] = Batch(pace, _HEAVIEST_BYTES)
        self._channel: BlockingChannel = connection.channel()
        self._graveyard: BlockingChannel = connection.channel()  # its own: confirms would slow nothing else down

    def begin(self) -> None:
        self._graveyard.confirm_delivery()
        self._channel.basic_qos(prefetch_count=_UNACKED)
        self._channel.basic_consume(BALANCE_QUEUE, self._received)

    def go_on(self, backoff: Backoff) -> None:
        self._gather()
        while deliveries := self._waiting.take():
            self._settle(deliveries)
            backoff.reset()
        if not self._channel.consumer_tags:
            raise Unavailable(f"the queue {BALANCE_QUEUE} was deleted")

    def _gather(self) -> None:
        """Wait for a message, then take along what has arrived with it."""
        self._connection.process_data_events(_TICK_S)
        gathered = 0
        while gathered < len(self._waiting) < _MOST_MESSAGES:
            gathered = len(self._waiting)
            self._connection.process_data_events(0)

    def end(self) -> None:
        """Give back what is not acknowledged, in its order.

        pika's own way of closing rejects what has arrived one by one, and each of these would then be delivered again
        after those behind it. The broker returns them as they were when it closes the channel over a fault.
        """
        if self._connection.is_open and self._channel.is_open:
            with suppress(ChannelClosedByBroker):
                self._channel.queue_declare(_NO_QUEUE, passive=True)

    def _received(
        self, _channel: BlockingChannel, method: pika.spec.Basic.Deliver, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._waiting.add(Delivery(method.delivery_tag, method.routing_key, properties, body))

    def _settle(self, deliveries: Sequence[Delivery]) -> None:
        """Write, then ack: whatever happens in between, nothing is lost, and the ledger takes nothing twice."""
        metrics.batch.observe(len(deliveries))
        began = time.monotonic()
        try:
            self._store(list(self._understood(deliveries)))
        except Unavailable:
            self._pace.failed()
            raise
        self._pace.took(time.monotonic() - began)
        self._channel.basic_ack(deliveries[-1].tag, multiple=True)

    def _understood(self, deliveries: Sequence[Delivery]) -> Iterator[tuple[Delivery, Balances]]:
        for delivery in deliveries:
            try:
                event = message.read(delivery.body)
            except Exception as error:
                self._refuse(delivery, error)
                continue
            if event is None:
                metrics.messages.labels("ignored").inc()
                continue
            yield delivery, event

    def _store(self, entries: Sequence[tuple[Delivery, Balances]]) -> None:
        """All at once; where something cannot be written, one by one, so that it alone is set aside."""
        if not entries:
            return
        try:
            self._ledger.write([event for _, event in entries])
        except Unavailable:
            raise
        except Exception as error:
            if len(entries) == 1:
                self._refuse(entries[0][0], error)
                return
            for entry in entries:
                self._store([entry])

    def _refuse(self, delivery: Delivery, error: Exception) -> None:
        """A message that nobody foresaw is set aside like a bad one: taken up again it would fail again."""
        if isinstance(error, BadMessage):
            self._bury(delivery, str(error))
            return
        log.error("balance event failed", trace_id=delivery.properties.message_id, exc_info=error)
        self._bury(delivery, plain(f"internal error: {type(error).__name__}: {error}"))

    def _bury(self, delivery: Delivery, reason: str) -> None:
        """Publish it to where dead messages are kept, with the reason; confirmed before it is acknowledged."""
        told: dict[str, Any] = {
            "reason": reason,
            "refused-by": PERSISTER,
            "refused-at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "queue": BALANCE_QUEUE,
        }
        properties = pika.BasicProperties(
            content_type=delivery.properties.content_type,
            type=delivery.properties.type,
            message_id=delivery.properties.message_id,
            timestamp=delivery.properties.timestamp,
            app_id=delivery.properties.app_id,
            delivery_mode=2,
            headers={**(delivery.properties.headers or {}), **told},
        )
        self._graveyard.basic_publish(DEAD, delivery.routing_key, delivery.body, properties, mandatory=True)
        metrics.messages.labels("dead").inc()
        log.error("balance event refused", reason=reason, trace_id=delivery.properties.message_id)


def queue_exists(connection: pika.BlockingConnection) -> bool:
    channel = connection.channel()
    try:
        channel.queue_declare(BALANCE_QUEUE, passive=True)
    except ChannelClosedByBroker as closed:
        if closed.reply_code != _NOT_FOUND:
            raise
        return False
    channel.close()
    return True


@contextmanager
def hanging_up(connection: pika.BlockingConnection) -> Iterator[pika.BlockingConnection]:
    """Close the connection afterwards, however it ended."""
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()
