"""The publisher's thread, over connections that a test controls."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

import pika
import pytest

from common.events import Event
from common.lifecycle import start
from common.settings import RabbitMQ
from ingestor.delivery.amqp_connection import ConnectionListener
from ingestor.delivery.outbox import Lane
from ingestor.delivery.publisher import LaneMaintenance, Publisher
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.spool import Spool
from tests.kit.waiting import eventually

KEY = "trades.linear.BTCUSDT"


class ReadyTopology:
    """Everything is declared already."""

    def remake(self, requester: str, done: Callable[[], None]) -> None:
        done()

    def needs(self, routing_key: str) -> bool:
        return False


class FakeConnection:
    """Serves callbacks in the thread that runs it, as an event loop does; confirms at once what is published."""

    def __init__(self, listener: ConnectionListener, reachable: bool) -> None:
        self._listener = listener
        self._reachable = reachable
        self._callbacks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._timers: list[Callable[[], None]] = []
        self._tag = 0
        self.is_open = False
        self.published: list[int] = []

    def run(self) -> None:
        self.is_open = self._reachable
        if self.is_open:
            self._listener.opened()
        while self.is_open:
            try:
                self._callbacks.get(timeout=0.01)()
            except Empty:
                timers, self._timers = self._timers, []
                for callback in timers:
                    callback()
        self._listener.closed("closed" if self._reachable else "AMQPConnectionError: refused")

    def publish(self, events: Iterable[Event]) -> None:
        for event in events:
            self._tag += 1
            self.published.append(int(event.id))
            confirm = (self._tag, False)
            self._callbacks.put(lambda confirm=confirm: self._listener.confirmed([confirm]))  # type: ignore[misc]

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._timers.append(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._callbacks.put(callback)

    def close(self) -> None:
        self.is_open = False

    def abort(self, reason: str) -> None:
        self.is_open = False


class Broker:
    """Hosts by name; some of them do not answer."""

    def __init__(self) -> None:
        self.unreachable: set[str] = set()
        self.tried: list[str] = []
        self.connections: list[FakeConnection] = []

    def connect(self, parameters: pika.ConnectionParameters, listener: ConnectionListener) -> FakeConnection:
        self.tried.append(parameters.host)
        self.connections.append(FakeConnection(listener, parameters.host not in self.unreachable))
        return self.connections[-1]


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    return Lane(Spool(tmp_path / "market.db", 2**20, durable=False), durable=False, most_events=1000, most_bytes=2**20)


@pytest.fixture
def broker() -> Broker:
    return Broker()


def events(*numbers: int) -> list[Event]:
    return [Event(str(number), "trades", KEY, b"{}", number) for number in numbers]


@contextmanager
def running(broker: Broker, lane: Lane, ca_file: str = "") -> Iterator[Publisher]:
    hosts = (("one", 5672), ("two", 5672))
    rabbitmq = RabbitMQ(hosts, "user", "password", "/", bool(ca_file), ca_file, None)
    publisher = Publisher("market", lane, rabbitmq, ReadyTopology(), Traffic(), 50, connect=broker.connect)
    worker = start(publisher)
    try:
        yield publisher
    finally:
        worker.stop()
        assert worker.ended(within_s=20)


def test_events_put_by_other_threads_are_published_and_confirmed(broker: Broker, lane: Lane):
    with running(broker, lane):
        for number in range(20):
            lane.put(events(number))
        eventually(lambda: lane.empty and lane.counts().confirmed == 20, 20, "all are confirmed")
        assert broker.connections[-1].published == list(range(20))


def test_each_host_is_tried_until_one_accepts(broker: Broker, lane: Lane):
    broker.unreachable = {"one", "two"}
    with running(broker, lane) as publisher:
        eventually(lambda: {"one", "two"} <= set(broker.tried), 20, "both are tried")
        assert publisher.link.reason == "AMQPConnectionError: refused"
        broker.unreachable = {"one"}
        eventually(lambda: publisher.link.connected, 20, "the other one is connected")
        assert broker.tried[-1] == "two"


def test_a_closed_connection_is_replaced(broker: Broker, lane: Lane):
    with running(broker, lane) as publisher:
        eventually(lambda: publisher.link.connected, 20, "it is connected")
        first = broker.connections[-1]
        first.call_soon(lambda: first.abort("by the test"))
        eventually(lambda: broker.connections[-1] is not first, 20, "there is another one")
        lane.put(events(1))
        eventually(lambda: lane.counts().confirmed == 1, 20, "it is used")


def test_a_missing_ca_file_is_an_unavailable_broker(broker: Broker, lane: Lane, tmp_path: Path):
    with running(broker, lane, str(tmp_path / "ca.pem")) as publisher:
        eventually(lambda: "FileNotFoundError" in publisher.link.reason, 20, "the reason is reported")
        assert broker.tried == []


def test_a_stop_publishes_what_is_there_and_closes_the_lane(broker: Broker, lane: Lane):
    with running(broker, lane) as publisher:
        eventually(lambda: publisher.link.connected, 20, "it is connected")
        lane.put(events(*range(300)))
    assert broker.connections[-1].published == list(range(300))
    lane.sweep()
    assert lane.failure is None
    assert publisher.link.reason == "stopping"


def test_a_stop_without_a_broker_leaves_the_events_on_disk(broker: Broker, lane: Lane, tmp_path: Path):
    broker.unreachable = {"one", "two"}
    with running(broker, lane):
        lane.put(events(1, 2))
    assert Spool(tmp_path / "market.db", 2**20, durable=False).count == 2


def test_a_lane_is_spilled_after_a_second_without_a_broker(lane: Lane, tmp_path: Path):
    maintenance = LaneMaintenance(lane, retention_s=None)
    lane.put(events(1))
    on_disk = []
    for now in (100.0, 101.0, 101.9, 102.0):
        maintenance.run(now, unix_s=0.0, unavailable_since=100.5)
        on_disk.append(Spool(tmp_path / "market.db", 2**20, durable=False).count)
    assert on_disk == [0, 0, 0, 1]


def test_a_lane_with_a_broker_is_not_spilled(lane: Lane, tmp_path: Path):
    lane.put(events(1))
    LaneMaintenance(lane, retention_s=None).run(100.0, unix_s=0.0, unavailable_since=None)
    assert Spool(tmp_path / "market.db", 2**20, durable=False).count == 0


def test_events_beyond_the_retention_are_dropped(tmp_path: Path):
    lane = Lane(Spool(tmp_path / "market.db", 2**20, durable=False), durable=False, most_events=0, most_bytes=0)
    lane.put(events(100, 200))
    LaneMaintenance(lane, retention_s=50.0).run(0.0, unix_s=200.0, unavailable_since=None)
    assert [entry.event.id for entry in lane.take(10)] == ["200"]


def test_without_a_retention_nothing_is_dropped(tmp_path: Path):
    lane = Lane(Spool(tmp_path / "private.db", 2**20, durable=True), durable=True, most_events=0, most_bytes=0)
    lane.put(events(100, 200))
    LaneMaintenance(lane, retention_s=None).run(0.0, unix_s=1e9, unavailable_since=None)
    assert lane.counts().dropped == 0


def test_the_lane_is_maintained_between_two_connections(broker: Broker, lane: Lane, tmp_path: Path):
    broker.unreachable = {"one", "two"}
    with running(broker, lane):
        lane.put(events(1))
        spooled = Spool(tmp_path / "market.db", 2**20, durable=False)
        eventually(lambda: spooled.read(1, 10), 20, "it is on disk while the broker is unavailable")


def test_a_stop_is_heard_between_two_connections(broker: Broker, lane: Lane):
    broker.unreachable = {"one", "two"}
    stop = threading.Event()
    stop.set()
    rabbitmq = RabbitMQ((("one", 5672),), "user", "password", "/", False, "", None)
    Publisher("market", lane, rabbitmq, ReadyTopology(), Traffic(), 50, connect=broker.connect).run(stop)
    assert broker.tried == []
