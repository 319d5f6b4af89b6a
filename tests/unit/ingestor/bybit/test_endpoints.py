"""What Bybit documents, as numbers: a wrong edit would be noticed by the exchange first."""

import re
from pathlib import Path

import pytest

from common.channels import ENDPOINTS
from common.settings import BYBIT_ENVIRONMENTS, Bybit
from ingestor.bybit import endpoints
from ingestor.bybit.session import Timing
from ingestor.sockets import connect_budget
from ingestor.sockets.pool import MOST_TOPIC_CHARACTERS, url_of

INGESTOR = Path(str(endpoints.__file__)).parents[1]


def test_each_environment_has_its_origins():
    assert set(endpoints.WEBSOCKET_ORIGINS) == set(endpoints.REST_ORIGINS) == set(BYBIT_ENVIRONMENTS)


def test_each_endpoint_has_its_path():
    assert set(endpoints.WEBSOCKET_PATHS) == set(ENDPOINTS)


@pytest.mark.parametrize(
    ("environment", "endpoint", "url"),
    [
        ("mainnet", "linear", "wss://stream.bybit.com/v5/public/linear"),
        ("mainnet", "private", "wss://stream.bybit.com/v5/private"),
        ("testnet", "option", "wss://stream-testnet.bybit.com/v5/public/option"),
        ("testnet", "private", "wss://stream-testnet.bybit.com/v5/private"),
        ("mainnet", "event", "wss://stream.bybit.com/v5/public/event"),
        ("testnet", "event", "wss://stream-testnet.bybit.com/v5/public/event"),
        ("demo", "status", "wss://stream.bybit.com/v5/public/misc/status"),
        ("demo", "private", "wss://stream-demo.bybit.com/v5/private"),
    ],
)
def test_an_endpoint_has_the_documented_url(environment: str, endpoint: str, url: str):
    assert url_of(Bybit(environment, None, "", ""), endpoint) == url


def test_rest_has_the_documented_origins():
    expected = ["https://api.bybit.com", "https://api-testnet.bybit.com", "https://api-demo.bybit.com"]
    assert [endpoints.REST_ORIGINS[name] for name in ("mainnet", "testnet", "demo")] == expected


def test_the_limits_of_sockets_are_the_documented_ones():
    assert endpoints.TOPICS_PER_REQUEST == 10
    assert endpoints.OPTION_TOPICS_PER_CONNECTION == 2_000
    assert (endpoints.CONNECTS_PER_WINDOW, endpoints.CONNECT_WINDOW_S) == (500, 300.0)
    assert Timing().ping_every_s == endpoints.PING_EVERY_S == 20.0


def test_our_own_limits_stay_below_those_of_the_exchange():
    assert MOST_TOPIC_CHARACTERS == 20_000 < endpoints.CHARACTERS_PER_CONNECTION == 21_000
    assert connect_budget.MOST == 60 < endpoints.CONNECTS_PER_WINDOW
    assert connect_budget.PER_S == endpoints.CONNECT_WINDOW_S


def test_the_pages_of_rest_have_the_documented_lengths():
    assert (endpoints.INSTRUMENTS_PER_PAGE, endpoints.CANDLES_PER_PAGE) == (1_000, 1_000)
    assert (endpoints.TRADES_PER_PAGE, endpoints.SPOT_TRADES_PER_PAGE) == (1_000, 60)
    assert (endpoints.EXECUTIONS_PER_PAGE, endpoints.ORDERS_PER_PAGE, endpoints.POSITIONS_PER_PAGE) == (100, 50, 200)
    assert endpoints.EXECUTION_HISTORY_MS == 604_800_000


def test_every_limit_is_used_and_has_its_number_here():
    limits = {name for name, value in vars(endpoints).items() if name.isupper() and isinstance(value, int | float)}
    source = "".join(path.read_text() for path in INGESTOR.rglob("*.py") if path.name != "endpoints.py")
    assert limits
    assert limits - set(re.findall(r"\w+", source)) == set()
    assert limits - set(re.findall(r"endpoints\.(\w+)", Path(__file__).read_text())) == set()
