"""Which sockets there are, and which topics each carries."""

from collections.abc import Sequence
from typing import Any

import pytest

from common.channels import Channel, of_topic
from common.settings import Bybit
from ingestor.sockets.pool import MOST_TOPIC_CHARACTERS, ConnectionPool, ConnectionSlot, url_of


class Socket:
    """Remembers what it is to carry."""

    def __init__(self, endpoint: str, number: int) -> None:
        self.endpoint = endpoint
        self.number = number
        self.topics: list[str] = []

    def want(self, channels: Sequence[Channel]) -> None:
        self.topics = [channel.topic for channel in channels]


class Sockets(list[Socket]):
    def open(self, endpoint: str, number: int) -> Any:
        self.append(Socket(endpoint, number))
        return self[-1]


@pytest.fixture
def sockets() -> Sockets:
    return Sockets()


@pytest.fixture
def pool(sockets: Sockets) -> ConnectionPool:
    no_thread: Any = None
    return ConnectionPool(sockets.open, lambda _: no_thread)


def channels(endpoint: str, *topics: str) -> list[Channel]:
    return [of_topic(endpoint, topic) for topic in topics]


def test_each_endpoint_has_a_socket_of_its_own(pool: ConnectionPool, sockets: Sockets):
    pool.want(channels("linear", "tickers.BTCUSDT") + channels("spot", "tickers.BTCUSDT"))
    assert sorted((each.endpoint, each.topics) for each in sockets) == [
        ("linear", ["tickers.BTCUSDT"]),
        ("spot", ["tickers.BTCUSDT"]),
    ]


def test_a_further_socket_is_opened_where_bybits_limit_would_be_passed(pool: ConnectionPool, sockets: Sockets):
    topics = [f"tickers.SYMBOL{number:05}USDT" for number in range(1500)]
    pool.want(channels("linear", *topics))
    assert [each.number for each in sockets] == [0, 1]
    assert sorted(topic for each in sockets for topic in each.topics) == topics
    for each in sockets:
        assert sum(len(f'"{topic}",') for topic in each.topics) <= MOST_TOPIC_CHARACTERS
    assert len(sockets[0].topics) == MOST_TOPIC_CHARACTERS // len(f'"{topics[0]}",')


def test_on_option_the_number_of_topics_has_a_limit_too():
    no_thread: Any = None
    slot = ConnectionSlot(Sockets().open("option", 0), no_thread)
    [channel] = channels("option", "tickers.X")
    slot.channels = {str(number): channel for number in range(1999)}
    assert slot.has_room_for("x")
    slot.channels["one more"] = channel
    assert not slot.has_room_for("x")


def test_a_topic_stays_on_its_socket_when_others_leave_and_its_place_is_used_again(
    pool: ConnectionPool, sockets: Sockets
):
    topics = [f"tickers.SYMBOL{number:05}USDT" for number in range(1500)]
    pool.want(channels("linear", *topics))
    stays = sockets[1].topics[0]
    pool.want(channels("linear", stays, "tickers.NEW"))
    assert (sockets[0].topics, sockets[1].topics) == (["tickers.NEW"], [stays])
    assert len(sockets) == 2
    assert pool.carried() == {("linear", stays), ("linear", "tickers.NEW")}


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


def test_a_socket_hears_of_changes_of_its_own_topics_only(pool: ConnectionPool, sockets: Sockets):
    pool.want(channels("linear", "tickers.BTCUSDT") + channels("spot", "tickers.BTCUSDT"))
    linear, spot = sorted(sockets, key=lambda each: each.endpoint)
    linear.topics = spot.topics = ["as before"]
    pool.want(channels("linear", "tickers.BTCUSDT", "tickers.ETHUSDT") + channels("spot", "tickers.BTCUSDT"))
    assert (linear.topics, spot.topics) == (["tickers.BTCUSDT", "tickers.ETHUSDT"], ["as before"])
    pool.want(channels("linear", "tickers.BTCUSDT", "tickers.ETHUSDT"))
    assert spot.topics == []


def test_the_room_of_topics_that_left_is_free_again(pool: ConnectionPool, sockets: Sockets):
    topics = [f"tickers.SYMBOL{number:05}USDT" for number in range(700)]
    for _ in range(3):
        pool.want(channels("linear", *topics))
        pool.want([])
    assert len(sockets) == 1
