"""The parts of a topic name, and the endpoints that it exists on."""

import re
from dataclasses import dataclass

from simulator.candles import INTERVALS
from simulator.instruments import Catalogue

DEPTHS = {
    "spot": (1, 50, 200, 1000),
    "linear": (1, 50, 200, 1000),
    "inverse": (1, 50, 200, 1000),
    "option": (25, 100),
    "spread": (25,),
}
POOLS = {"linear": ("USDT", "USDC"), "inverse": ("inverse",)}
KINDS = {
    "spot": ("orderbook", "publicTrade", "tickers", "kline", "priceLimit"),
    "linear": ("orderbook", "publicTrade", "tickers", "kline", "allLiquidation", "priceLimit"),
    "inverse": ("orderbook", "publicTrade", "tickers", "kline", "allLiquidation", "priceLimit"),
    "option": ("orderbook", "publicTrade", "tickers"),
    "spread": ("orderbook", "publicTrade", "tickers"),
}
STATUS_TOPIC = "system.status"
EVENT_TYPES = ("UpDown", "Target", "Range", "InOut", "OneTouch")
PRIVATE_KINDS = {
    "order": ("spot", "linear", "inverse", "option"),
    "execution": ("spot", "linear", "inverse", "option"),
    "execution.fast": ("spot", "linear", "inverse", "option"),
    "position": ("linear", "inverse", "option"),
    "order.event": (),
    "execution.event": (),
    "position.event": (),
    "wallet": (),
    "greeks": (),
    "strategy": (),
    "dcp.future": (),
    "dcp.spot": (),
    "dcp.option": (),
    "spread.order": (),
    "spread.execution": (),
    "rfq.open.rfqs": (),
    "rfq.open.quotes": (),
    "rfq.open.trades": (),
}

_EVENT_TOPIC = re.compile(r"event\.ticker\.all\.(?P<coin>[A-Z0-9]+)\.(?P<type>[A-Za-z]+)")
_TOPIC = re.compile(r"(?P<kind>[A-Za-z]+)(?:\.(?P<detail>[0-9DWM]+))?\.(?P<symbol>[^.]+)")


@dataclass(frozen=True, slots=True)
class Topic:
    kind: str
    symbol: str
    detail: str = ""


def parsed(category: str, text: str) -> Topic | None:
    """The parts of a topic if this endpoint has such topics, for any symbol."""
    if category == "status":
        return Topic("status", "") if text == STATUS_TOPIC else None
    if category == "event":
        event = _EVENT_TOPIC.fullmatch(text)
        return Topic("event", event["coin"], event["type"]) if event and event["type"] in EVENT_TYPES else None
    found = _TOPIC.fullmatch(text)
    if found is None:
        return None
    topic = Topic(found["kind"], found["symbol"], found["detail"] or "")
    return topic if _offered(category, topic) else None


def _offered(category: str, topic: Topic) -> bool:
    if topic.kind in ("insurance", "adlAlert"):
        return topic.symbol in POOLS.get(category, ()) and not topic.detail
    if topic.kind not in KINDS.get(category, ()):
        return False
    if topic.kind == "orderbook":
        return topic.detail in map(str, DEPTHS[category])
    if topic.kind == "kline":
        return topic.detail in INTERVALS
    return not topic.detail


def names_something_listed(category: str, topic: Topic, catalogue: Catalogue) -> bool:
    if topic.kind in ("insurance", "adlAlert", "status"):
        return True
    if topic.kind == "event" or (category, topic.kind) == ("option", "publicTrade"):
        return topic.symbol in catalogue.bases("option")
    return catalogue.find(category, topic.symbol) is not None


def acked_but_silent(category: str, text: str, catalogue: Catalogue) -> bool:
    """The option endpoint acks books and candles it does not have, and never sends them."""
    found = _TOPIC.fullmatch(text)
    if category != "option" or found is None or found["kind"] not in ("orderbook", "kline"):
        return False
    return catalogue.find("option", found["symbol"]) is not None
