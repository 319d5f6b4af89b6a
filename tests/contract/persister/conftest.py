"""A persister in a thread, on a queue and a database of the test's own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pika
import pytest
from sqlalchemy import Engine

from common import amqp, settings, topology
from common import database as databases
from persister.consumer import BalanceConsumer
from persister.ledger import Ledger
from tests.kit.servers import Broker, Database
from tests.kit.waiting import eventually


@dataclass
class Queue:
    """The balance queue as the ingestor makes it."""

    channel: pika.adapters.blocking_connection.BlockingChannel

    def declare(self) -> None:
        for exchange, kind in ((topology.EVENTS, "topic"), (topology.DEAD, "fanout")):
            self.channel.exchange_declare(exchange, kind, durable=True)
        dead, balances, binding = topology.dead_queue(), topology.balance_queue(), topology.balance_binding()
        self.channel.queue_declare(dead.name, durable=True, arguments=dead.arguments)
        self.channel.queue_bind(dead.name, topology.DEAD)
        self.channel.queue_declare(balances.name, durable=True, arguments=balances.arguments)
        self.channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)

    def publish(self, *bodies: bytes) -> None:
        for body in bodies:
            properties = pika.BasicProperties(message_id="id of the message", delivery_mode=2)
            self.channel.basic_publish(topology.EVENTS, "balance.private", body, properties)

    def dead(self) -> list[tuple[pika.BasicProperties, bytes]]:
        """Takes what is in the queue of dead messages."""
        found: list[tuple[pika.BasicProperties, bytes]] = []
        while True:
            method, properties, body = self.channel.basic_get(topology.DEAD, auto_ack=True)
            if method is None:
                return found
            found.append((properties, body))

    def unsettled(self) -> int:
        """How many messages wait; there must be no consumer."""
        found = self.channel.queue_declare(topology.BALANCE_QUEUE, passive=True)
        return int(found.method.message_count)


@pytest.fixture
def queue(broker: Broker) -> Iterator[Queue]:
    connection = broker.connect()
    found = Queue(connection.channel())
    found.declare()
    found.channel.confirm_delivery()
    yield found
    connection.close()


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    env = settings.Environment(database.environ())
    made = databases.engine(settings.postgres(env), "persister tests")
    yield made
    made.dispose()


@pytest.fixture
def persister(broker: Broker, engine: Engine) -> Iterator[threading.Thread]:
    with consuming(broker, Ledger(engine)) as thread:
        yield thread


@contextmanager
def consuming(broker: Broker, ledger: Ledger, queue_expected_within_s: float = 30.0) -> Iterator[threading.Thread]:
    env = settings.Environment(broker.environ())
    connect = partial(amqp.connect, settings.rabbitmq(env), "persister tests")
    consumer = BalanceConsumer(connect, ledger, queue_expected_within_s)
    stop = threading.Event()
    thread = threading.Thread(target=consumer.run, args=(stop,), name="persister", daemon=True)
    thread.start()
    try:
        yield thread
    finally:  # it must not be in libpq while the interpreter ends
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def rows(database: Database, statement: str, count: int, within_s: float = 20.0) -> list[tuple[object, ...]]:
    """The answer once it has that many rows."""
    found: list[tuple[object, ...]] = []

    def complete() -> bool:
        found[:] = database.execute(statement)
        return len(found) == count

    eventually(complete, within_s, f"{count} rows")
    return found
