"""When REST is asked for the state of the private topics."""

import threading
from collections.abc import Callable, Iterator

import pytest

from common.channels import Channel, of_topic
from common.errors import Unavailable
from common.events import Event
from ingestor.feed.event_stream import EventStream, StreamSource
from ingestor.rest.client import RestSnapshot
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.jobs.snapshots import SnapshotJob
from tests.kit.waiting import eventually

WALLET, ORDERS = of_topic("private", "wallet"), of_topic("private", "order")


class Exchange:
    """Answers, after refusing as often as it is told to."""

    def __init__(self) -> None:
        self.refusals = 0
        self.asked = 0

    def wallet(self) -> RestSnapshot:
        self.asked += 1
        if self.asked <= self.refusals:
            raise Unavailable("too busy")
        return RestSnapshot(b'{"list":[]}', self.asked)

    def open_orders(self) -> list[RestSnapshot]:
        return [RestSnapshot(b'{"list":[]}', 0)]

    def positions(self) -> list[RestSnapshot]:
        return []

    def clock(self) -> tuple[int, float]:
        return 0, 0.0


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def told() -> list[tuple[str, str]]:
    """Topic and origin of each event."""
    return []


@pytest.fixture
def snapshots(exchange: Exchange, told: list[tuple[str, str]]) -> Iterator[SnapshotJob]:
    def tell(channel: Channel, make: Callable[[EventStream], Event]) -> bool:
        event = make(EventStream(channel, StreamSource("mainnet", "01A")))
        told.append((channel.topic, "snapshot" if b'"origin":"snapshot"' in event.body else "live"))
        return True

    made, stop = SnapshotJob(exchange, ExchangeClock(), tell, wallet_every_s=0.01), threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    yield made
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_the_wallet_is_asked_for_again_and_again_once_it_was(
    snapshots: SnapshotJob, told: list[tuple[str, str]]
) -> None:
    snapshots.ask(WALLET)
    eventually(lambda: told.count(("wallet", "snapshot")) >= 3, 10, "it is repeated")


def test_other_topics_are_asked_for_once(snapshots: SnapshotJob, told: list[tuple[str, str]]) -> None:
    snapshots.ask(ORDERS)
    snapshots.ask(WALLET)
    eventually(lambda: told.count(("wallet", "snapshot")) >= 3, 10, "time has passed")
    assert told.count(("order", "snapshot")) == 1


def test_an_answer_that_failed_is_asked_for_again(
    snapshots: SnapshotJob, exchange: Exchange, told: list[tuple[str, str]]
) -> None:
    exchange.refusals = 2
    snapshots.ask(WALLET)
    eventually(lambda: told, 10, "it is told in the end")
    assert exchange.asked >= 3
