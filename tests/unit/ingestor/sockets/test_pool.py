"""Which connections there are, which topics each carries, and what reaches them."""

import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from common.channels import Channel, of_topic
from common.events import Dropped
from common.settings import Bybit, Credentials
from ingestor.sockets.allocation import Allocation
from ingestor.sockets.mailbox import Command, Mailbox, Publish, Renew, RetryRejected, Subscribe, TopicDropped
from ingestor.sockets.pool import (
    MAX_UNCLAIMED,
    MOST_TOPIC_CHARACTERS,
    UNCLAIMED_FOR_S,
    ConnectionPool,
    ConnectionSlot,
    url_of,
)


class Socket:
    """A worker whose commands are looked at."""

    def __init__(self, endpoint: str, number: int) -> None:
        self.name = f"{endpoint} {number}"
        self.endpoint = endpoint
        self.number = number
        self.wakes = 0
        self.mailbox = Mailbox(self.wake)
        self.topics: list[str] = []
        self.observed: Any = f"observed {self.name}"

    def wake(self) -> None:
        self.wakes += 1

    def run(self, stop: threading.Event) -> None:
        raise NotImplementedError

    def commands(self) -> list[Command]:
        found: list[Command] = []
        while (command := self.mailbox.next()) is not None:
            found.append(command)
        self.topics = next(
            ([channel.topic for channel in each.channels] for each in found if isinstance(each, Subscribe)), self.topics
        )
        return found


class Sockets(list[Socket]):
    def __init__(self) -> None:
        super().__init__()
        self.started: list[object] = []
        self.most = 100

    def open(self, endpoint: str, number: int) -> Socket:
        if len(self) >= self.most:
            raise OSError("too many open files")
        self.append(Socket(endpoint, number))
        return self[-1]

    def obey(self) -> None:
        for each in self:
            each.commands()


@pytest.fixture
def sockets() -> Sockets:
    return Sockets()


@pytest.fixture
def time_s() -> list[float]:
    return [0.0]


@pytest.fixture
def pool(time_s: list[float]) -> ConnectionPool:
    return ConnectionPool(lambda: time_s[0])


@pytest.fixture
def allocation(pool: ConnectionPool, sockets: Sockets) -> Allocation:
    return Allocation(pool, sockets.open, sockets.started.append)


def channels(endpoint: str, *topics: str) -> list[Channel]:
    return [of_topic(endpoint, topic) for topic in topics]


BTC, ETH = "tickers.BTCUSDT", "tickers.ETHUSDT"
BTC_KEY = "ticker.linear.BTCUSDT"
MANY = [f"tickers.SYMBOL{number:05}USDT" for number in range(1500)]


def test_each_endpoint_has_a_connection_of_its_own(allocation: Allocation, sockets: Sockets):
    allocation.want(channels("linear", BTC) + channels("spot", BTC))
    sockets.obey()
    assert sorted((each.endpoint, each.topics) for each in sockets) == [("linear", [BTC]), ("spot", [BTC])]
    assert sockets.started == sockets


def test_a_further_connection_is_opened_where_bybits_limit_would_be_exceeded(allocation: Allocation, sockets: Sockets):
    allocation.want(channels("linear", *MANY))
    sockets.obey()
    assert [each.number for each in sockets] == [0, 1]
    assert sorted(topic for each in sockets for topic in each.topics) == MANY
    for each in sockets:
        assert sum(len(f'"{topic}",') for topic in each.topics) <= MOST_TOPIC_CHARACTERS
    assert len(sockets[0].topics) == MOST_TOPIC_CHARACTERS // len(f'"{MANY[0]}",')


def test_on_option_the_number_of_topics_has_a_limit_too():
    slot = ConnectionSlot(Sockets().open("option", 0))
    [channel] = channels("option", "tickers.X")
    slot.channels = {str(number): channel for number in range(1999)}
    assert slot.has_room_for("x")
    slot.channels["one more"] = channel
    assert not slot.has_room_for("x")


def test_a_topic_stays_on_its_connection_when_others_leave_and_their_room_is_used_again(
    allocation: Allocation, pool: ConnectionPool, sockets: Sockets
):
    allocation.want(channels("linear", *MANY))
    sockets.obey()
    stays = sockets[1].topics[0]
    allocation.want(channels("linear", stays, "tickers.NEW"))
    sockets.obey()
    assert (sockets[0].topics, sockets[1].topics) == (["tickers.NEW"], [stays])
    assert len(sockets) == 2
    assert pool.carried() == {("linear", stays), ("linear", "tickers.NEW")}


def test_topics_for_which_no_connection_can_be_opened_do_not_keep_the_others_from_theirs(
    allocation: Allocation, sockets: Sockets
):
    sockets.most = 1
    with pytest.raises(OSError, match="too many"):
        allocation.want(channels("linear", *MANY))
    sockets.obey()
    assert len(sockets[0].topics) == MOST_TOPIC_CHARACTERS // len(f'"{MANY[0]}",')
    sockets.most = 2
    allocation.want(channels("linear", *MANY))
    sockets.obey()
    assert sorted(topic for each in sockets for topic in each.topics) == MANY


def test_a_connection_whose_thread_cannot_be_started_carries_nothing(pool: ConnectionPool, sockets: Sockets):
    def start(worker: object) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError):
        Allocation(pool, sockets.open, start).want(channels("linear", BTC))
    assert pool.slots() == []
    Allocation(pool, sockets.open, sockets.started.append).want(channels("linear", BTC))
    sockets.obey()
    assert sockets[-1].topics == [BTC]


MAIN, TEST, DEMO = "wss://stream.bybit.com", "wss://stream-testnet.bybit.com", "wss://stream-demo.bybit.com"


@pytest.mark.parametrize(
    ("environment", "endpoint", "url"),
    [
        ("mainnet", "spot", f"{MAIN}/v5/public/spot"),
        ("mainnet", "linear", f"{MAIN}/v5/public/linear"),
        ("mainnet", "inverse", f"{MAIN}/v5/public/inverse"),
        ("mainnet", "option", f"{MAIN}/v5/public/option"),
        ("mainnet", "spread", f"{MAIN}/v5/public/spread"),
        ("mainnet", "rfq", f"{MAIN}/v5/public/rfq"),
        ("mainnet", "fp", f"{MAIN}/v5/public/fp"),
        ("mainnet", "status", f"{MAIN}/v5/public/misc/status"),
        ("mainnet", "private", f"{MAIN}/v5/private"),
        ("testnet", "linear", f"{TEST}/v5/public/linear"),
        ("testnet", "private", f"{TEST}/v5/private"),
        ("demo", "linear", f"{MAIN}/v5/public/linear"),
        ("demo", "private", f"{DEMO}/v5/private"),
        ("simulator", "linear", "ws://127.0.0.1:4480/v5/public/linear"),
        ("simulator", "private", "ws://127.0.0.1:4480/v5/private"),
    ],
)
def test_each_environment_has_its_hosts(environment: str, endpoint: str, url: str):
    assert url_of(Bybit(environment, None, "", ""), endpoint) == url


def test_a_regional_host_is_a_setting():
    bybit = Bybit("mainnet", None, "wss://stream.bybit.eu", "https://api.bybit.eu")
    assert url_of(bybit, "private") == "wss://stream.bybit.eu/v5/private"


def test_only_workers_whose_topics_change_get_a_command(allocation: Allocation, sockets: Sockets):
    allocation.want(channels("linear", BTC) + channels("spot", BTC))
    linear, spot = sorted(sockets, key=lambda each: each.endpoint)
    sockets.obey()
    allocation.want(channels("linear", BTC, ETH) + channels("spot", BTC))
    assert linear.commands() == [Subscribe(tuple(channels("linear", BTC, ETH)))]
    assert spot.commands() == []
    allocation.want(channels("linear", BTC, ETH))
    assert (linear.commands(), spot.commands()) == ([], [Subscribe(())])


def test_the_room_of_topics_that_left_is_free_again(allocation: Allocation, sockets: Sockets):
    for _ in range(3):
        allocation.want(channels("linear", *MANY[:700]))
        allocation.want([])
    assert len(sockets) == 1


def test_an_event_goes_to_the_worker_that_carries_its_topic(
    allocation: Allocation, pool: ConnectionPool, sockets: Sockets
):
    allocation.want(channels("linear", *MANY))
    sockets.obey()
    [channel] = channels("linear", MANY[-1])
    make: Any = "how it is made"
    assert pool.publish(channel, make)
    assert (sockets[0].commands(), sockets[1].commands()) == ([], [Publish(channel, make)])
    assert not pool.publish(channels("spot", MANY[-1])[0], make)


def test_credentials_concern_private_connections_and_a_retry_those_of_its_endpoint(
    allocation: Allocation, pool: ConnectionPool, sockets: Sockets
):
    allocation.want(channels("linear", BTC) + channels("private", "order"))
    linear, private = sorted(sockets, key=lambda each: each.endpoint)
    sockets.obey()
    pool.renew(Credentials("key", "secret"))
    pool.retry_rejected("linear")
    assert private.commands() == [Renew(Credentials("key", "secret"))]
    assert linear.commands() == [RetryRejected()]
    assert pool.observed() == [each.observed for each in sockets]


def test_dropped_events_are_reported_to_the_worker_of_their_topic(
    allocation: Allocation, pool: ConnectionPool, sockets: Sockets
):
    allocation.want(channels("linear", BTC, ETH))
    sockets.obey()
    pool.dropped([Dropped(BTC_KEY, 3, 100), Dropped("gap.ticker.linear.BTCUSDT", 1, 90)])
    assert sockets[0].commands() == [TopicDropped(BTC, 3, 100)]


def test_drops_of_a_topic_that_is_not_subscribed_yet_wait_for_it(
    allocation: Allocation, pool: ConnectionPool, sockets: Sockets, time_s: list[float]
):
    pool.dropped([Dropped(BTC_KEY, 3, 100)])
    pool.dropped([Dropped(BTC_KEY, 2, 90)])
    allocation.want(channels("linear", ETH))
    time_s[0] = UNCLAIMED_FOR_S - 0.1
    with capture_logs() as lines:
        allocation.want(channels("linear", BTC, ETH))
    assert lines == []
    assert TopicDropped(BTC, 5, 90) in sockets[0].commands()
    allocation.want(channels("linear", BTC))
    assert sockets[0].commands() == [Subscribe(tuple(channels("linear", BTC)))]


def test_drops_of_a_topic_that_is_never_subscribed_are_forgotten(
    allocation: Allocation, pool: ConnectionPool, sockets: Sockets, time_s: list[float]
):
    pool.dropped([Dropped(BTC_KEY, 3, 100)])
    time_s[0] = UNCLAIMED_FOR_S
    with capture_logs() as lines:
        allocation.want([])
    assert [(line["event"], line["key"], line["events"]) for line in lines] == [
        ("events dropped of an unsubscribed topic", BTC_KEY, 3)
    ]
    allocation.want(channels("linear", BTC))
    assert sockets[0].commands() == [Subscribe(tuple(channels("linear", BTC)))]


def test_the_number_of_topics_whose_drops_wait_is_limited(
    allocation: Allocation, pool: ConnectionPool, sockets: Sockets
):
    pool.dropped([Dropped(f"ticker.linear.S{number}", 1, 100) for number in range(MAX_UNCLAIMED)])
    pool.dropped([Dropped(BTC_KEY, 1, 100), Dropped("ticker.linear.S0", 1, 100)])
    allocation.want(channels("linear", BTC, "tickers.S0"))
    assert sockets[0].commands()[1:] == [TopicDropped("tickers.S0", 2, 100)]
