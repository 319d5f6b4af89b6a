"""The publisher against a real broker."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pika
import pytest

from common import settings, topology
from common.events import Event
from common.lifecycle import start
from common.settings import Environment
from ingestor.delivery.amqp_connection import BatchingConnection, PublishingConnection
from ingestor.delivery.outbox import Lane
from ingestor.delivery.publisher import Publisher
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.spool import Spool
from tests.kit.servers import Broker
from tests.kit.waiting import eventually

KEY = "trades.linear.BTCUSDT"
QUEUE = "own"


class OneQueue:
    """Declares one queue on request."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.remade = 0

    def remake(self, requester: str, done: Callable[[], None]) -> None:
        threading.Thread(target=self._make, args=(done,)).start()

    def needs(self, routing_key: str) -> bool:
        return routing_key == KEY

    def _make(self, done: Callable[[], None]) -> None:
        connection = self._broker.connect()
        channel = connection.channel()
        channel.exchange_declare(topology.EVENTS, "topic", durable=True)
        channel.queue_declare(QUEUE, durable=True)
        channel.queue_bind(QUEUE, topology.EVENTS, KEY)
        connection.close()
        self.remade += 1
        done()


class World:
    """A lane and its publisher at work."""

    def __init__(self, broker: Broker, folder: Path, traffic: Traffic | None = None, **more: str) -> None:
        self.lane = Lane(
            Spool(folder / "market.db", 2**20, durable=False), durable=False, most_events=1000, most_bytes=2**20
        )
        self.topology = OneQueue(broker)
        rabbitmq = settings.rabbitmq(Environment(broker.environ() | more))
        self.publisher = Publisher("market", self.lane, rabbitmq, self.topology, traffic or Traffic(), 50, 3600.0)
        self._running = start(self.publisher)
        if not more:
            eventually(lambda: self.publisher.link.connected, 20, "it is connected")

    def put(self, *numbers: int, key: str = KEY) -> None:
        self.lane.put([Event(f"id-{n}", "trades", key, str(n).encode(), n) for n in numbers])

    def all_confirmed(self) -> bool:
        return self.lane.empty

    def stop(self) -> None:
        self._running.stop()
        assert self._running.ended(within_s=15)


@pytest.fixture
def world(broker: Broker, tmp_path: Path) -> Iterator[World]:
    with running(broker, tmp_path) as mine:
        yield mine


@contextmanager
def running(broker: Broker, folder: Path, traffic: Traffic | None = None, **more: str) -> Iterator[World]:
    mine = World(broker, folder, traffic, **more)
    try:
        yield mine
    finally:
        mine.stop()


@pytest.fixture
def channel(broker: Broker) -> Iterator[Any]:
    connection = broker.connect()
    yield connection.channel()
    connection.close()


def read(channel: Any, queue: str = QUEUE) -> list[tuple[int, pika.BasicProperties]]:
    found: list[tuple[int, pika.BasicProperties]] = []
    while True:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        found.append((int(body), properties))


def test_events_arrive_in_sequence_with_their_properties(world: World, channel: Any):
    for first in range(0, 300, 10):
        world.put(*range(first, first + 10))
    eventually(world.all_confirmed, 10, "all is confirmed")
    messages = read(channel)
    assert [number for number, _ in messages] == list(range(300))
    properties = messages[7][1]
    assert (properties.message_id, properties.type, properties.timestamp) == ("id-7", "trades", 7)
    assert (properties.content_type, properties.app_id) == ("application/cloudevents+json", "ws-gateway")
    assert properties.delivery_mode == 2


class Miscounting(Traffic):
    """Fails at some messages, each time in the middle of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_at = [7, 25, 26]
        self._counted = 0

    def count(self, key: str) -> None:
        self._counted += 1
        if self._counted in self.fails_at:
            raise RuntimeError("not foreseen")


def test_a_failure_of_the_publisher_loses_nothing_and_keeps_the_sequence(broker: Broker, tmp_path: Path, channel: Any):
    with running(broker, tmp_path, Miscounting()) as mine:
        for start in range(0, 100, 10):
            mine.put(*range(start, start + 10))
        eventually(mine.all_confirmed, 20, "all is confirmed")
        numbers = [number for number, _ in read(channel)]
    assert list(dict.fromkeys(numbers)) == list(range(100))
    assert mine.topology.remade == 4, "it connected again after each failure"


def test_a_missing_ca_file_is_an_unavailable_broker(broker: Broker, tmp_path: Path):
    missing = tmp_path / "ca.pem"
    with running(broker, tmp_path, RABBITMQ_TLS="true", RABBITMQ_CA_FILE=str(missing)) as mine:
        eventually(lambda: "FileNotFoundError" in mine.publisher.link.reason, 10, "the reason is reported")
        mine.put(1)
        missing.write_text("not a certificate")
        assert not mine.publisher.link.connected
    assert mine.lane.counts().in_flight + mine.lane.counts().spooled == 1


def test_a_large_event_is_cut_into_frames_and_arrives_whole(world: World, channel: Any):
    body = b"7" * 300_000
    world.lane.put([Event("large", "trades", KEY, body, 1)])
    eventually(world.all_confirmed, 10, "it is confirmed")
    assert channel.basic_get(QUEUE, auto_ack=True)[2] == body


def test_an_event_without_a_queue_is_confirmed(world: World):
    world.put(1, key="trades.linear.UNBOUND")
    eventually(world.all_confirmed, 10, "it is confirmed")
    assert world.topology.remade == 1


def test_an_event_whose_queue_is_gone_is_sent_again_once_it_is_declared(world: World, channel: Any):
    world.put(*range(10))
    eventually(world.all_confirmed, 10, "all is confirmed")
    channel.queue_delete(QUEUE)
    world.put(*range(10, 30))
    connected = world.publisher.link
    eventually(lambda: world.topology.remade == 2 and world.all_confirmed(), 10, "declared again and confirmed")
    world.put(30)
    eventually(world.all_confirmed, 5, "the next one is confirmed")
    assert [number for number, _ in read(channel)] == list(range(10, 31))
    assert world.publisher.link == connected


def test_a_refused_event_is_sent_again_in_sequence_until_it_is_accepted(world: World, channel: Any):
    """A full queue that rejects makes the broker nack, although the other queue accepted the event."""
    arguments = {"x-max-length": 5, "x-overflow": "reject-publish"}
    channel.queue_declare("full", durable=True, arguments=arguments)
    channel.queue_bind("full", topology.EVENTS, KEY)
    world.put(*range(20))
    eventually(lambda: "refused" in world.publisher.link.reason, 10, "it was refused")
    channel.queue_delete("full")
    eventually(world.all_confirmed, 20, "all is confirmed")
    numbers = [number for number, _ in read(channel)]
    assert list(dict.fromkeys(numbers)) == list(range(20))
    begins = [0, *(at for at in range(1, len(numbers)) if numbers[at] <= numbers[at - 1]), len(numbers)]
    tries = [numbers[begin:end] for begin, end in pairwise(begins)]  # the last ones without what was confirmed
    assert all(each == list(range(each[0], each[-1] + 1)) for each in tries), tries
    assert tries[-1][-1] == 19


def test_a_stop_waits_for_the_confirms(broker: Broker, tmp_path: Path, channel: Any):
    world = World(broker, tmp_path)
    world.put(*range(500))
    world.stop()
    assert [number for number, _ in read(channel)] == list(range(500))


def test_messages_and_confirms_take_the_short_path(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slow_path: list[object] = []
    monkeypatch.setattr(PublishingConnection, "_answered", lambda _, frame: slow_path.append(frame))
    world = World(broker, tmp_path)
    monkeypatch.setattr(BatchingConnection, "_adapter_emit_data", lambda _, data: slow_path.append(data))
    world.put(*range(100))
    eventually(world.all_confirmed, 10, "all is confirmed")
    monkeypatch.undo()
    world.stop()
    assert slow_path == []
