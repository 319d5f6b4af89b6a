"""One session, and the exchange's side of the conversation with it."""

import json
from collections.abc import Iterable

from common.channels import Channel, of_topic
from common.settings import Credentials
from ingestor.bybit.actions import (
    Action,
    Send,
)
from ingestor.bybit.messages import PING
from ingestor.bybit.session import Session, Timing

TRADES = "publicTrade.BTCUSDT"
BOOK = "orderbook.50.BTCUSDT"
TICKER = "tickers.BTCUSDT"
PONG = b'{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}'


def channels(*topics: str, endpoint: str = "linear") -> list[Channel]:
    return [of_topic(endpoint, topic) for topic in topics]


def session(*topics: str, endpoint: str = "linear", credentials: Credentials | None = None) -> Session:
    talk = Session(endpoint, Timing(), now=0.0, credentials=credentials, draw=lambda: 1.0)
    talk.want(channels(*topics, endpoint=endpoint), now=0.0)
    return talk


def live(*topics: str, endpoint: str = "linear") -> Session:
    talk = session(*topics, endpoint=endpoint)
    answer(talk, talk.opened(now=0.0, exchange_ms=0))
    return talk


def requests(actions: Iterable[Action]) -> list[dict[str, object]]:
    return [json.loads(action.text) for action in actions if isinstance(action, Send) and action.text != PING]


def reply(request: dict[str, object], refusal: str = "") -> bytes:
    body = {
        "success": not refusal,
        "ret_msg": refusal,
        "conn_id": "c",
        "req_id": request["req_id"],
        "op": request["op"],
    }
    return json.dumps(body).encode()


def answer(talk: Session, actions: list[Action], now: float = 0.0) -> list[Action]:
    """Acknowledge every request that is in these actions, and those that follow."""
    found: list[Action] = []
    while sent := requests(actions):
        actions = [action for request in sent for action in talk.received(reply(request), now)]
        found += actions
    return found


def push(topic: str, ts: int = 1, **more: object) -> bytes:
    return json.dumps({"topic": topic, "type": "snapshot", "ts": ts, "data": {}} | more).encode()


def book(update_id: int, kind: str = "delta") -> bytes:
    return push(BOOK, type=kind, data={"u": update_id})
