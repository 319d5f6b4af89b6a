"""An AMQP consumer that keeps all messages."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import pika

from tests.kit.servers import Broker

_HEAD = b'"data":'


@dataclass(slots=True)
class Read:
    """One message as received."""

    queue: str
    body: bytes
    properties: pika.BasicProperties

    @property
    def data(self) -> bytes:
        """What Bybit sent, cut out of the event without parsing it: `data` is last."""
        return self.body[self.body.index(_HEAD) + len(_HEAD) : -1]


@dataclass(slots=True)
class Reader:
    """Reads these queues in a thread of its own until it is closed, acking after it has kept a message."""

    broker: Broker
    queues: tuple[str, ...]
    messages: list[Read] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Reader":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)

    @property
    def live(self) -> list[Read]:
        """The data pushed by Bybit, without events of the gateway itself and without data from REST."""
        return [message for message in list(self.messages) if b'"origin":"live","data":' in message.body]

    def _run(self) -> None:
        connection = self.broker.connect()
        channel = connection.channel()
        channel.basic_qos(prefetch_count=200)
        for queue in self.queues:
            channel.basic_consume(queue, self._keep(queue))
        while not self._stop.is_set():
            connection.process_data_events(0.1)
        connection.close()

    def _keep(self, queue: str):
        def keep(channel, method, properties, body):
            self.messages.append(Read(queue, body, properties))
            channel.basic_ack(method.delivery_tag)

        return keep


def drained(broker: Broker, queues: Iterable[str]) -> list[Read]:
    """All messages that are in these queues now."""
    read: list[Read] = []
    connection = broker.connect()
    channel = connection.channel()
    for queue in queues:
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                break
            read.append(Read(queue, body, properties))
    connection.close()
    return read
