"""pybit, the exchange's own client, works against the simulator; only the address differs."""

import logging
import time
from collections.abc import Callable, Iterator
from logging.handlers import QueueHandler
from queue import Queue
from typing import Any

import pytest
from pybit.exceptions import InvalidRequestError
from pybit.unified_trading import HTTP, WebSocket

KEY, SECRET = "simulator-key", "simulator-secret"
PUT = "BTC-25JUN27-106000-P-USDT"
WITHIN_S = 10.0

Opener = Callable[..., WebSocket]


@pytest.fixture
def pybit(simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """Opens pybit's sockets at the simulator's address, and closes them."""
    monkeypatch.setattr("pybit.unified_trading.PUBLIC_WSS", simulator.ws_url + "/v5/public/{CHANNEL_TYPE}")
    monkeypatch.setattr("pybit.unified_trading.PRIVATE_WSS", simulator.ws_url + "/v5/private")
    opened: list[WebSocket] = []

    def connect(channel_type: str, **more: Any) -> WebSocket:
        opened.append(WebSocket(channel_type=channel_type, testnet=True, **more))
        return opened[-1]

    yield connect
    for each in opened:
        each.exit()


@pytest.fixture
def http(simulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., HTTP]:
    monkeypatch.setattr("pybit._http_manager.HTTP_URL", simulator.rest_url)
    return lambda **credentials: HTTP(**credentials)


def private(pybit: Opener) -> WebSocket:
    socket = pybit("private", api_key=KEY, api_secret=SECRET)
    deadline = time.monotonic() + WITHIN_S
    while not socket.auth:
        assert time.monotonic() < deadline, "not authenticated"
    return socket


@pytest.mark.parametrize(
    ("channel_type", "subscribe", "topic"),
    [
        ("linear", lambda ws, handle: ws.orderbook_stream(50, "BTCUSDT", handle), "orderbook.50.BTCUSDT"),
        ("linear", lambda ws, handle: ws.orderbook_stream(200, "BTCUSDT", handle), "orderbook.200.BTCUSDT"),
        ("linear", lambda ws, handle: ws.ticker_stream("BTCUSDT", handle), "tickers.BTCUSDT"),
        ("linear", lambda ws, handle: ws.kline_stream(1, "BTCUSDT", handle), "kline.1.BTCUSDT"),
        ("linear", lambda ws, handle: ws.trade_stream("XRPUSDT", handle), "publicTrade.XRPUSDT"),
        ("spot", lambda ws, handle: ws.orderbook_stream(50, "ETHUSDT", handle), "orderbook.50.ETHUSDT"),
        ("spot", lambda ws, handle: ws.ticker_stream("ETHUSDT", handle), "tickers.ETHUSDT"),
        ("inverse", lambda ws, handle: ws.ticker_stream("BTCUSD", handle), "tickers.BTCUSD"),
        ("option", lambda ws, handle: ws.ticker_stream(PUT, handle), f"tickers.{PUT}"),
        ("misc/status", lambda ws, handle: ws.system_status_stream(handle), "system.status"),
    ],
)
def test_public_streams(pybit: Opener, channel_type: str, subscribe: Callable[..., None], topic: str):
    pushed: Queue[Any] = Queue()
    subscribe(pybit(channel_type), pushed.put)
    assert pushed.get(timeout=WITHIN_S)["topic"] == topic


def test_a_book_that_pybit_keeps_stays_whole(pybit: Opener):
    pushed: Queue[int] = Queue()  # what pybit hands over changes with its book: the number is taken at once
    pybit("linear").orderbook_stream(200, "BTCUSDT", lambda push: pushed.put(push["data"]["u"]))
    updates = [pushed.get(timeout=WITHIN_S) for _ in range(15)]
    assert updates == list(range(updates[0], updates[0] + 15))


@pytest.mark.parametrize(
    ("topic", "subscribe"),
    [
        ("order", lambda ws, handle: ws.order_stream(handle)),
        ("execution", lambda ws, handle: ws.execution_stream(handle)),
        ("execution.fast.linear", lambda ws, handle: ws.fast_execution_stream(handle, "linear")),
        ("position", lambda ws, handle: ws.position_stream(handle)),
        ("wallet", lambda ws, handle: ws.wallet_stream(handle)),
    ],
)
def test_private_streams(pybit: Opener, topic: str, subscribe: Callable[..., None]):
    pushed: Queue[Any] = Queue()
    subscribe(private(pybit), pushed.put)
    assert pushed.get(timeout=WITHIN_S)["topic"] == topic


def test_a_wrong_secret_is_refused(pybit: Opener):
    """pybit raises in its own thread, where websocket-client only logs it."""
    logged: Queue[logging.LogRecord] = Queue()
    handler = QueueHandler(logged)
    logging.getLogger("websocket").addHandler(handler)
    socket = pybit("private", api_key=KEY, api_secret="wrong")
    message = logged.get(timeout=WITHIN_S).getMessage()
    logging.getLogger("websocket").removeHandler(handler)
    assert "Authorization for Unified V5 (Auth) failed" in message
    assert not socket.auth


def test_public_queries(http: Callable[..., HTTP]):
    session = http()
    assert session.get_server_time()["retCode"] == 0
    first = session.get_instruments_info(category="linear")["result"]
    second = session.get_instruments_info(category="linear", cursor=first["nextPageCursor"])["result"]
    assert len(first["list"]) + len(second["list"]) == 800
    assert session.get_kline(category="spot", symbol="BTCUSDT", interval="D", limit=7)["result"]["list"]
    assert session.get_orderbook(category="linear", symbol="BTCUSDT", limit=50)["result"]["s"] == "BTCUSDT"
    assert session.get_public_trade_history(category="linear", symbol="BTCUSDT")["result"]["list"]


def test_private_queries(http: Callable[..., HTTP]):
    session = http(api_key=KEY, api_secret=SECRET)
    assert session.get_wallet_balance(accountType="UNIFIED", coin="USDT,USDC")["result"]["list"][0]["coin"]
    assert session.get_api_key_information()["result"]["apiKey"] == KEY
    assert session.get_account_info()["result"]["unifiedMarginStatus"] == 4
    assert session.get_executions(category="linear")["retCode"] == 0
    assert session.get_open_orders(category="linear", settleCoin="USDT")["retCode"] == 0
    assert session.get_positions(category="linear", symbol="BTCUSDT")["result"]["list"]


@pytest.mark.parametrize(("key", "secret", "code"), [(KEY, "wrong", 10004), ("other", SECRET, 10003)])
def test_bad_credentials_are_refused(http: Callable[..., HTTP], key: str, secret: str, code: int):
    with pytest.raises(InvalidRequestError) as refused:
        http(api_key=key, api_secret=secret).get_wallet_balance(accountType="UNIFIED")
    assert refused.value.status_code == code
