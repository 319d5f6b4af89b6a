"""The thread that consumes the balance queue: it writes each message, then acknowledges it."""

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
from common.backoff import Backoff
from common.errors import BadMessage, Unavailable, reported_as
from common.foreign import plain
from common.retrying import keep_trying
from common.topology import BALANCE_QUEUE, DEAD, PERSISTER
from persister import message, metrics
from persister.batch import Batch, Pace
from persister.message import BalanceEvent

log = structlog.get_logger(__name__)

_MAX_MESSAGES = 100
_MAX_BATCH_BYTES = 4 * 2**20
_PREFETCH = 2 * _MAX_MESSAGES  # one batch is written while the next one arrives
_MISSING_QUEUE = f"{BALANCE_QUEUE}.leaving"  # as it appears in the broker's log
_POLL_S = 0.5  # a stop is noticed within it
_QUEUE_CHECKED_EVERY_S = 1.0
_QUEUE_EXPECTED_WITHIN_S = 30.0  # of an ingestor that starts together with us
_NOT_FOUND = 404
_MAX_RETRY_S = 5.0  # shorter than elsewhere: while we wait, balances are late


class BalanceStore(Protocol):
    def open(self) -> None:
        """Raises Unavailable."""

    def write(self, events: Sequence[BalanceEvent]) -> None:
        """All or none; raises Unavailable, or BadMessage when the values cannot be stored."""


@dataclass(frozen=True, slots=True)
class BalanceDelivery:
    """A message that is not acknowledged yet."""

    tag: int
    routing_key: str
    properties: pika.BasicProperties
    body: bytes

    @property
    def weight(self) -> int:
        return len(self.body)


class BalanceConsumer:
    """PostgreSQL first, then the queue: no deliveries are held while they cannot be written."""

    name = "consumer"

    def __init__(
        self,
        connect: Callable[[], pika.BlockingConnection],
        store: BalanceStore,
        queue_expected_within_s: float = _QUEUE_EXPECTED_WITHIN_S,
    ) -> None:
        self._connect = connect
        self._store = store
        self._queue_expected_within_s = queue_expected_within_s
        self._logged = False
        self._pace = Pace(_MAX_MESSAGES, _MAX_MESSAGES)

    def run(self, stop: threading.Event) -> None:
        keep_trying(partial(self._consume, stop), stop, "rabbitmq or postgres", Backoff(most_s=_MAX_RETRY_S))

    def _consume(self, stop: threading.Event, backoff: Backoff) -> None:
        if backoff.failures <= 1:
            self._logged = False  # something was written since it was logged last
        self._store.open()
        with reported_as(Unavailable, *amqp.AWAY), closing_finally(self._connect()) as connection:
            if not self._queue_exists(connection, stop):
                return
            self._serve(ConsumerSession(connection, self._store, self._pace), stop, backoff)

    def _serve(self, session: "ConsumerSession", stop: threading.Event, backoff: Backoff) -> None:
        session.begin()
        self._log_start()
        try:
            with metrics.consuming.track_inprogress():
                while not stop.is_set():
                    session.process(backoff)
        finally:
            session.end()

    def _queue_exists(self, connection: pika.BlockingConnection, stop: threading.Event) -> bool:
        """Wait for the queue, which the ingestor declares; False when we are stopped before."""
        warn_at: float | None = time.monotonic() + self._queue_expected_within_s
        waiting = False
        while not (exists := queue_exists(connection)) and not stop.is_set():
            if not waiting:
                log.info("waiting for the balance queue", queue=BALANCE_QUEUE)
                waiting = True
            if warn_at is not None and time.monotonic() >= warn_at:
                log.warning("balance queue missing", queue=BALANCE_QUEUE, waited_s=self._queue_expected_within_s)
                warn_at = None
            stop.wait(_QUEUE_CHECKED_EVERY_S)
        return exists

    def _log_start(self) -> None:
        if not self._logged:
            log.info("reading balances", queue=BALANCE_QUEUE)
        self._logged = True


class ConsumerSession:
    """One connection's use of the queue."""

    def __init__(self, connection: pika.BlockingConnection, store: BalanceStore, pace: Pace) -> None:
        self._connection = connection
        self._store = store
        self._pace = pace
        self._waiting: Batch[BalanceDelivery] = Batch(pace, _MAX_BATCH_BYTES)
        self._channel: BlockingChannel = connection.channel()
        self._dead_letter_channel: BlockingChannel = connection.channel()  # its own: only it needs confirms

    def begin(self) -> None:
        self._dead_letter_channel.confirm_delivery()
        self._channel.basic_qos(prefetch_count=_PREFETCH)
        self._channel.basic_consume(BALANCE_QUEUE, self._received)

    def process(self, backoff: Backoff) -> None:
        """Wait for messages and settle them; raises Unavailable."""
        self._gather()
        while deliveries := self._waiting.take():
            self._settle(deliveries)
            backoff.reset()
        if not self._channel.consumer_tags:
            raise Unavailable(f"the queue {BALANCE_QUEUE} was deleted")

    def _gather(self) -> None:
        """Wait for a message, then take those that have arrived with it."""
        self._connection.process_data_events(_POLL_S)
        gathered = 0
        while gathered < len(self._waiting) < _MAX_MESSAGES:
            gathered = len(self._waiting)
            self._connection.process_data_events(0)

    def end(self) -> None:
        """Return what is not acknowledged to its place in the queue.

        pika's public ways do not: `basic_cancel`, and with it `close` of a channel or a connection, rejects what has
        arrived one by one, and each of these is delivered again behind those that follow it. RabbitMQ returns all of
        them as they were when it closes the channel itself, which an error makes it do.
        """
        if self._connection.is_open and self._channel.is_open:
            with suppress(ChannelClosedByBroker):
                self._channel.queue_declare(_MISSING_QUEUE, passive=True)

    def _received(
        self, _channel: BlockingChannel, method: pika.spec.Basic.Deliver, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._waiting.add(BalanceDelivery(method.delivery_tag, method.routing_key, properties, body))

    def _settle(self, deliveries: Sequence[BalanceDelivery]) -> None:
        """Write, then ack: whatever fails in between, nothing is lost, and the store ignores repeats."""
        metrics.batch.observe(len(deliveries))
        began = time.monotonic()
        try:
            self._write(list(self._parsed(deliveries)))
        except Unavailable:
            self._pace.failed()
            raise
        self._pace.took(time.monotonic() - began)
        self._channel.basic_ack(deliveries[-1].tag, multiple=True)

    def _parsed(self, deliveries: Sequence[BalanceDelivery]) -> Iterator[tuple[BalanceDelivery, BalanceEvent]]:
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

    def _write(self, entries: Sequence[tuple[BalanceDelivery, BalanceEvent]]) -> None:
        """All at once; when that fails, one by one, so that only what cannot be written is dead-lettered."""
        if not entries:
            return
        try:
            self._store.write([event for _, event in entries])
        except Unavailable:
            raise
        except Exception as error:
            if len(entries) == 1:
                self._refuse(entries[0][0], error)
                return
            for entry in entries:
                self._write([entry])

    def _refuse(self, delivery: BalanceDelivery, error: Exception) -> None:
        """An unforeseen error refuses the message as well: a redelivery would fail again."""
        if isinstance(error, BadMessage):
            self._dead_letter(delivery, str(error))
            return
        log.error("balance event failed", trace_id=delivery.properties.message_id, exc_info=error)
        self._dead_letter(delivery, plain(f"internal error: {type(error).__name__}: {error}"))

    def _dead_letter(self, delivery: BalanceDelivery, reason: str) -> None:
        """Publish it to the dead-letter exchange with the reason; confirmed before it is acknowledged."""
        why: dict[str, Any] = {
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
            headers={**(delivery.properties.headers or {}), **why},
        )
        self._dead_letter_channel.basic_publish(DEAD, delivery.routing_key, delivery.body, properties, mandatory=True)
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
def closing_finally(connection: pika.BlockingConnection) -> Iterator[pika.BlockingConnection]:
    """Close the connection in the end unless it is closed already, which would raise."""
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()
