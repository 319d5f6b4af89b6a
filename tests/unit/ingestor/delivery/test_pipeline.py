"""Publishing with pipelined confirms, over connections that a test controls."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from common.events import Event
from ingestor.delivery.outbox import Lane
from ingestor.delivery.pipeline import DRAIN_S, Pipeline
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.spool import Spool

KEY, OTHER = "trades.linear.BTCUSDT", "trades.linear.ETHUSDT"
WINDOW = 4


class FakeConnection:
    """Records what it has to do; the test plays the broker."""

    def __init__(self) -> None:
        self.is_open = True
        self.published: list[int] = []
        self.aborted: list[str] = []
        self.closed = False
        self.delayed: list[Callable[[], None]] = []

    def publish(self, events: Iterable[Event]) -> None:
        self.published += [int(event.id) for event in events]

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.delayed.append(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    def close(self) -> None:
        self.closed = True

    def abort(self, reason: str) -> None:
        self.aborted.append(reason)

    def pass_time(self) -> None:
        delayed, self.delayed = self.delayed, []
        for callback in delayed:
            callback()


class FakeTopology:
    """Declares the queues when the test lets it; a service's queue is bound to KEY."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Callable[[], None]]] = []

    def remake(self, requester: str, done: Callable[[], None]) -> None:
        self.requests.append((requester, done))

    def needs(self, routing_key: str) -> bool:
        return routing_key == KEY

    def finish(self) -> None:
        requests, self.requests = self.requests, []
        for _, done in requests:
            done()


class FailingTraffic(Traffic):
    """Fails once, in the middle of a batch."""

    failed = False

    def count(self, key: str) -> None:
        if self.by_key and not self.failed:
            self.failed = True
            raise RuntimeError("not foreseen")
        super().count(key)


class World:
    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.lane = Lane(
            Spool(folder / "market.db", 2**20, durable=False), durable=False, most_events=1000, most_bytes=2**20
        )
        self.topology = FakeTopology()
        self.traffic = Traffic()
        self.proofs = 0
        self.pipeline = self.new_pipeline()
        self.connection = FakeConnection()

    def new_pipeline(self) -> Pipeline:
        return Pipeline(
            "market", self.lane, self.topology, self.traffic, WINDOW, self.proof_of_life, clock=lambda: self.now
        )

    def proof_of_life(self) -> None:
        self.proofs += 1

    def put(self, *numbers: int, key: str = KEY) -> None:
        self.lane.put([Event(str(number), "trades", key, b"{}", number) for number in numbers])

    def attach(self) -> None:
        self.connection = FakeConnection()
        self.pipeline.attach(self.connection)
        self.pipeline.opened()

    def connect(self) -> None:
        self.attach()
        self.topology.finish()

    def confirm(self, *tags: int) -> None:
        self.pipeline.confirmed([(tag, False) for tag in tags])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_nothing_is_published_before_the_queues_are_declared(world: World):
    world.put(1)
    world.attach()
    world.put(2)
    assert world.connection.published == []
    assert not world.pipeline.link.connected
    world.topology.finish()
    assert world.connection.published == [1, 2]
    assert world.pipeline.link.connected


def test_an_event_is_published_as_soon_as_it_is_put(world: World):
    world.connect()
    world.put(1)
    assert world.connection.published == [1]
    world.put(2)
    assert world.connection.published == [1, 2]
    assert world.traffic.by_key == {KEY: 2}


def test_no_more_than_the_window_is_unconfirmed(world: World):
    world.connect()
    world.put(*range(1, 10))
    assert world.connection.published == [1, 2, 3, 4]
    world.confirm(2)
    assert world.connection.published == [1, 2, 3, 4, 5]


def test_a_multiple_confirm_makes_room_for_as_many(world: World):
    world.connect()
    world.put(*range(1, 10))
    world.pipeline.confirmed([(3, True)])
    assert world.connection.published == [1, 2, 3, 4, 5, 6, 7]
    assert world.lane.counts().confirmed == 3


def test_a_confirm_is_a_proof_of_life_and_opening_is_not(world: World):
    world.connect()
    world.put(1)
    assert world.proofs == 0
    world.confirm(1)
    assert world.proofs == 1
    assert world.lane.empty


def test_unconfirmed_events_of_a_lost_connection_go_out_first_in_sequence(world: World):
    world.connect()
    world.put(*range(1, 7))
    world.confirm(2)
    world.pipeline.closed("ConnectionResetError: reset by peer")
    world.put(7)
    world.connect()
    assert world.connection.published == [1, 3, 4, 5]
    world.confirm(1, 2, 3, 4)
    assert world.connection.published == [1, 3, 4, 5, 6, 7]


def test_a_nack_aborts_the_connection_and_everything_is_sent_again(world: World):
    world.connect()
    world.put(1, 2)
    world.pipeline.refused()
    assert world.connection.aborted == ["the broker refused a message"]
    assert (world.pipeline.link.connected, world.pipeline.link.reason) == (False, "the broker refused a message")
    world.put(3)
    assert world.connection.published == [1, 2], "nothing is added before the next connection"
    world.pipeline.closed("StreamLostError: the broker refused a message")
    world.connect()
    assert world.connection.published == [1, 2, 3]


def test_an_unroutable_event_of_a_subscription_is_sent_again_once_its_queue_is_back(world: World):
    world.connect()
    world.put(1, 2)
    world.pipeline.returned(KEY, "2")
    world.confirm(1, 2)
    assert world.lane.counts().confirmed == 1
    world.put(3)
    assert world.connection.published == [1, 2], "the sequence is kept: 3 waits for 2"
    [(requester, _)] = world.topology.requests
    assert requester == "market"
    world.topology.finish()
    assert world.connection.published == [1, 2, 2, 3]
    world.confirm(3, 4)
    assert world.lane.empty


def test_an_unroutable_event_is_sent_again_after_all_confirms_under_way(world: World):
    world.connect()
    world.put(1, 2, 3)
    world.pipeline.returned(KEY, "1")
    world.confirm(1)
    world.pipeline.returned(KEY, "3")
    world.topology.finish()
    assert world.connection.published == [1, 2, 3], "2 and 3 may be unroutable too"
    world.confirm(2, 3)
    world.connection.pass_time()
    assert world.connection.published == [1, 2, 3, 1, 3]


def test_one_repair_is_requested_for_all_unroutable_events(world: World):
    world.connect()
    world.put(1, 2)
    world.pipeline.returned(KEY, "1")
    world.pipeline.returned(KEY, "2")
    world.confirm(1)
    world.confirm(2)
    assert len(world.topology.requests) == 1


def test_an_event_without_a_subscription_needs_no_queue(world: World):
    world.connect()
    world.put(1, key=OTHER)
    world.pipeline.returned(OTHER, "1")
    world.confirm(1)
    assert world.lane.empty
    assert world.topology.requests == []


def test_unroutable_and_unconfirmed_events_of_a_lost_connection_keep_their_sequence(world: World):
    world.connect()
    world.put(1, 2, 3)
    world.pipeline.returned(KEY, "2")
    world.confirm(2)
    world.pipeline.closed("closed")
    world.connect()
    assert world.connection.published == [1, 2, 3]


def test_nothing_is_published_while_the_broker_blocks_the_connection(world: World):
    world.connect()
    world.pipeline.paused("blocked by the broker")
    world.put(1)
    assert world.connection.published == []
    assert world.pipeline.link.reason == "blocked by the broker"
    assert world.pipeline.unavailable_since == world.now
    world.pipeline.resumed()
    assert world.connection.published == [1]
    assert world.pipeline.link.connected
    assert world.pipeline.unavailable_since is None


def test_queues_that_are_declared_too_late_for_a_connection_start_nothing(world: World):
    world.attach()
    world.pipeline.closed("closed")
    world.put(1)
    world.topology.finish()
    assert not world.pipeline.link.connected
    world.attach()
    world.connection.is_open = False
    world.topology.finish()
    assert not world.pipeline.link.connected
    assert world.connection.published == []


def test_a_closed_channel_takes_nothing_and_loses_nothing(world: World):
    world.connect()
    world.connection.is_open = False
    world.put(1)
    assert world.connection.published == []
    assert world.traffic.by_key == {}
    world.pipeline.closed("closed")
    world.connect()
    assert world.connection.published == [1]


def test_a_failure_in_the_middle_of_a_batch_loses_nothing(world: World):
    world.traffic = FailingTraffic()
    world.pipeline = world.new_pipeline()
    world.connect()
    with pytest.raises(RuntimeError):
        world.put(1, 2, 3)
    world.pipeline.closed("RuntimeError: not foreseen")
    world.connect()
    assert world.connection.published == [1, 2, 3]


def test_a_broker_that_confirms_nothing_for_ten_seconds_is_left(world: World):
    world.connect()
    world.put(1, 2)
    world.pipeline.tick(100.0, stopping=False)
    world.confirm(1)
    world.pipeline.tick(105.0, stopping=False)
    world.pipeline.tick(115.0, stopping=False)
    assert world.connection.aborted == []
    world.pipeline.tick(115.1, stopping=False)
    assert world.connection.aborted == [f"no confirm for 10 s from the queues of {KEY}"]


def test_a_blocked_connection_needs_no_confirms(world: World):
    world.connect()
    world.put(1)
    world.pipeline.tick(100.0, stopping=False)
    world.pipeline.paused("blocked by the broker")
    world.pipeline.tick(200.0, stopping=False)
    assert world.connection.aborted == []


def test_a_stop_waits_for_the_confirms_and_then_closes(world: World):
    world.connect()
    world.put(1)
    world.pipeline.tick(1.0, stopping=True)
    closed_before = world.connection.closed
    world.confirm(1)
    world.pipeline.tick(2.0, stopping=True)
    assert (closed_before, world.connection.closed) == (False, True)
    world.pipeline.closed("ConnectionClosedByClient: (200) 'Normal shutdown'")
    assert world.pipeline.link.reason == "stopping"


def test_a_stop_waits_for_confirms_for_a_limited_time(world: World):
    world.connect()
    world.put(1)
    world.pipeline.tick(1.0, stopping=True)
    world.pipeline.tick(1.0 + DRAIN_S, stopping=True)
    closed_before = world.connection.closed
    world.pipeline.tick(1.1 + DRAIN_S, stopping=True)
    assert (closed_before, world.connection.closed) == (False, True)
    world.pipeline.tick(2.0 + DRAIN_S, stopping=True)
    assert world.connection.aborted == []
    world.pipeline.tick(2.1 + DRAIN_S, stopping=True)
    assert world.connection.aborted == ["stopping"], "the broker did not answer the close"


def test_a_stop_does_not_wait_for_a_broker_that_is_unavailable(world: World):
    world.put(1)
    world.attach()
    world.pipeline.tick(1.0, stopping=True)
    world.pipeline.tick(1.25, stopping=True)
    assert world.connection.aborted == ["stopping"]
    world.pipeline.closed("StreamLostError: stopping")
    world.pipeline.tick(2.0, stopping=True)
    assert world.lane.counts().in_flight == 1


def test_an_unavailable_broker_is_logged_once_with_the_first_reason(world: World):
    with capture_logs() as logged:
        world.pipeline.paused("FileNotFoundError: ca.pem")
        world.pipeline.paused("AMQPConnectionError: refused")
        world.connect()
        world.pipeline.closed("ConnectionResetError: reset")
        world.pipeline.paused("AMQPConnectionError: refused")
    assert [each["event"] for each in logged] == ["broker unavailable", "broker connected", "broker unavailable"]
    assert logged[0]["reason"] == "FileNotFoundError: ca.pem"
    assert world.pipeline.link.reason == "ConnectionResetError: reset"


def test_the_broker_is_unavailable_from_the_first_failure_on(world: World):
    world.connect()
    world.now = 200.0
    world.pipeline.closed("ConnectionResetError: reset")
    world.now = 300.0
    world.pipeline.paused("AMQPConnectionError: refused")
    assert world.pipeline.unavailable_since == 200.0
