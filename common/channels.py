"""A channel by its three names: channel type with parameters, Bybit topic, and routing key."""

import re
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote

DEPTHS = {
    "spot": ("50", "1", "200", "1000"),
    "linear": ("50", "1", "200", "1000"),
    "inverse": ("50", "1", "200", "1000"),
    "option": ("25", "100"),
    "spread": ("25",),
}
"""Book depths of each category, the default first (websocket/public/orderbook)."""

INTERVALS = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M")
POOLED = ("insurance", "adl_alert")
"""Channel types whose symbol is a pool, not an instrument."""

POOLS = {"linear": ("USDT", "USDC"), "inverse": ("inverse",)}
ENDPOINTS = ("spot", "linear", "inverse", "option", "spread", "event", "rfq", "fp", "status", "private")
"""What a topic is subscribed on: a category of public data, or one of the two that have none."""

MOST_KEY_BYTES = 255  # AMQP's short string
_GAP = "gap."


@dataclass(frozen=True, slots=True)
class Kind:
    """Which parameters a channel type has, and how its topic is spelled."""

    prefix: str
    categories: tuple[str, ...]
    parameter: str = ""  # "depth" or "interval"


_TRADED = ("linear", "spot", "inverse", "option", "spread")
_CHARTED = ("linear", "spot", "inverse")
_DERIVED = ("linear", "inverse")

PUBLIC = {
    "trades": Kind("publicTrade", _TRADED),
    "ticker": Kind("tickers", _TRADED),
    "orderbook": Kind("orderbook", _TRADED, parameter="depth"),
    "kline": Kind("kline", _CHARTED, parameter="interval"),
    "liquidation": Kind("allLiquidation", _DERIVED),
    "price_limit": Kind("priceLimit", _CHARTED),
    "insurance": Kind("insurance", _DERIVED),
    "adl_alert": Kind("adlAlert", _DERIVED),
}
FIXED = {
    "system_status": ("status", "system.status"),
    "order": ("private", "order"),
    "execution": ("private", "execution"),
    "execution_fast": ("private", "execution.fast"),
    "position": ("private", "position"),
    "balance": ("private", "wallet"),
    "greeks": ("private", "greeks"),
}
"""Channel types that are one topic: (endpoint, topic)."""

PRIVATE_CLASSES = tuple(name for name, (endpoint, _) in FIXED.items() if endpoint == "private")
CHANNEL_TYPES = (*PUBLIC, *FIXED, "raw")
_BY_PREFIX = {kind.prefix: name for name, kind in PUBLIC.items()}
_BY_TOPIC = {topic: name for name, (_, topic) in FIXED.items()}
_PRIVATE_EVENTS = ("order.event", "execution.event", "position.event")
"""Private topics of event contracts. They are raw, and not among the categorised topics that Bybit rejects."""

_CATEGORISED = re.compile(r"(order|execution|execution\.fast|position)\.(spot|linear|inverse|option)")
_DEPTH = re.compile(r"0|[1-9][0-9]{0,8}")
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Fault:
    """One invalid field of a request, and what would be valid; `code` is stable."""

    field: str
    code: str
    message: str

    def within(self, place: str) -> "Fault":
        """The same fault, in a request that is part of another one."""
        return Fault(f"{place}.{self.field}", self.code, self.message)


class BadChannel(ValueError):
    """A request that does not name a channel; `faults` has every invalid field."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.message}" for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic of one endpoint; (endpoint, topic) and `routing_key` are one to one."""

    channel_type: str
    endpoint: str
    topic: str
    routing_key: str
    symbol: str | None = None
    depth: int | None = None
    interval: str | None = None

    @property
    def category(self) -> str:
        """Bybit's category, `private` and `status` included: each names its own endpoint."""
        return self.endpoint

    @property
    def gap_key(self) -> str:
        return _GAP + self.routing_key

    @property
    def private(self) -> bool:
        return self.endpoint == "private"


@dataclass(frozen=True, slots=True)
class Request:
    """A channel as a caller names it, not yet checked."""

    channel_type: str | None = None
    symbol: str | None = None
    category: str | None = None
    depth: int | None = None
    interval: str | None = None
    topic: str | None = None


def resolve(request: Request) -> Channel:
    """The channel that a request names, by its parts or by its topic; raises BadChannel."""
    if request.channel_type is not None and request.channel_type not in CHANNEL_TYPES:
        _refuse(
            "channel_type",
            "unknown_channel_type",
            f"{request.channel_type!r} must be one of {', '.join(CHANNEL_TYPES)}",
        )
    if request.topic is None:
        return _from_parts(request)
    channel = _from_topic(request.topic, request.category)
    _agree(request, channel)
    return channel


def of_topic(endpoint: str, topic: str) -> Channel:
    """The channel of a topic that is subscribed to on this endpoint."""
    return _from_topic(topic, endpoint)


def _from_parts(request: Request) -> Channel:
    name = request.channel_type
    if name is None:
        _refuse(
            "channel_type", "missing_field", f"is required unless topic is given: one of {', '.join(CHANNEL_TYPES)}"
        )
    if name == "raw":
        _refuse("topic", "missing_topic", "is required for channel type raw: Bybit's topic")
    if name in FIXED:
        return _fixed(request, name)
    return _public(request, name)


def _fixed(request: Request, name: str) -> Channel:
    endpoint, topic = FIXED[name]
    faults = _superfluous(request, ("symbol", "depth", "interval"), name)
    if request.category not in (None, endpoint):
        faults.append(_fixed_category(name, endpoint, request.category))
    if faults:
        raise BadChannel(faults)
    return Channel(name, endpoint, topic, f"{name}.{endpoint}")


def _fixed_category(name: str, endpoint: str, category: str | None) -> Fault:
    why = "; Bybit rejects categorised topics beside the all-in-one topic" if endpoint == "private" else ""
    return Fault("category", "bad_category", f"{category!r} must be {endpoint!r} or omitted for {name}{why}")


def _public(request: Request, name: str) -> Channel:
    kind = PUBLIC[name]
    category = request.category or "linear"
    faults = _superfluous(request, tuple({"depth", "interval"} - {kind.parameter}), name)
    if category not in kind.categories:
        categories = ", ".join(kind.categories)
        faults.append(Fault("category", "bad_category", f"{category!r} must be one of {categories} for {name}"))
    symbol_fault = _symbol_fault(name, category, request.symbol)
    if symbol_fault:
        faults.append(symbol_fault)
    given = request.depth if kind.parameter == "depth" else request.interval
    allowed = _allowed(kind, category)
    value = str(given) if given is not None else allowed[0]
    if category in kind.categories and value not in allowed:
        what = kind.parameter
        values = ", ".join(allowed)
        faults.append(Fault(what, f"bad_{what}", f"{value!r} must be one of {values} for {name} in {category}"))
    if faults or request.symbol is None:
        raise BadChannel(faults)
    return _built(name, category, request.symbol, value)


def _built(name: str, category: str, symbol: str, value: str) -> Channel:
    kind = PUBLIC[name]
    middle, tail = (f".{value}", f".{value}") if kind.parameter else ("", "")
    key = f"{name}.{category}.{_escaped(symbol)}{tail}"
    _check_length(key, "symbol")
    return Channel(
        name,
        category,
        f"{kind.prefix}{middle}.{symbol}",
        key,
        symbol=symbol,
        depth=int(value) if kind.parameter == "depth" else None,
        interval=value if kind.parameter == "interval" else None,
    )


def _from_topic(topic: str, category: str | None) -> Channel:
    if not topic or _UNFIT.search(topic):
        allowed = "must be Bybit's topic without white space or control characters, e.g. publicTrade.BTCUSDT"
        _refuse("topic", "bad_topic", f"{topic!r} {allowed}")
    if category is not None and category not in ENDPOINTS:
        _refuse("category", "bad_category", f"{category!r} must be one of {', '.join(ENDPOINTS)}")
    if topic.split(".")[0] == "dcp":
        why = "it pushes no data, it arms the cancellation of your orders"
        _refuse("topic", "refused_topic", f"{topic!r} cannot be subscribed to: {why}; name another topic")
    if _CATEGORISED.fullmatch(topic) and category in (None, "private"):
        whole = topic.rpartition(".")[0]
        _refuse("topic", "categorised_topic", f"Bybit rejects {topic!r} beside {whole!r}; subscribe to {whole!r}")
    return _known_topic(topic, category) or _raw(topic, category or _raw_endpoint(topic))


def _known_topic(topic: str, category: str | None) -> Channel | None:
    name = _BY_TOPIC.get(topic)
    if name is not None and category in (None, FIXED[name][0]):
        return _fixed(Request(category=category), name)
    prefix, _, rest = topic.partition(".")
    name, category = _BY_PREFIX.get(prefix), category or "linear"
    if name is None or category not in PUBLIC[name].categories or not rest:
        return None
    return _spelled(name, category, rest)


def _spelled(name: str, category: str, rest: str) -> Channel | None:
    """`rest` follows the prefix; a depth that is a word (`rpi`, `full`) makes it another topic, which is raw."""
    parameter = PUBLIC[name].parameter
    if not parameter:
        return _public(Request(name, rest, category), name)
    value, dot, symbol = rest.partition(".")
    if parameter == "depth":
        if not dot or not _DEPTH.fullmatch(value):
            return None
        return _public(Request(name, symbol, category, depth=int(value)), name)
    return _public(Request(name, symbol, category, interval=value), name) if dot else None


def _raw_endpoint(topic: str) -> str:
    """Where a raw topic is subscribed whose category is not given."""
    return "private" if topic in _PRIVATE_EVENTS else "linear"


def _raw(topic: str, category: str) -> Channel:
    key = f"raw.{category}.{_escaped(topic)}"
    _check_length(key, "topic")
    return Channel("raw", category, topic, key)


def _agree(request: Request, channel: Channel) -> None:
    """Parts beside a topic may repeat it, and must not contradict it."""
    named = {
        "channel_type": (request.channel_type, channel.channel_type),
        "symbol": (request.symbol, channel.symbol),
        "depth": (request.depth, channel.depth),
        "interval": (request.interval, channel.interval),
    }
    faults = [
        Fault(
            name,
            "conflict",
            f"{given!r} contradicts topic {request.topic!r}, which means {meant!r}; omit one of the two",
        )
        for name, (given, meant) in named.items()
        if given is not None and given != meant
    ]
    if faults:
        raise BadChannel(faults)


def _superfluous(request: Request, names: tuple[str, ...], channel_type: str) -> list[Fault]:
    given = [name for name in sorted(names) if getattr(request, name) is not None]
    return [Fault(name, "unexpected_field", f"{channel_type} has no {name}; omit it") for name in given]


def _symbol_fault(name: str, category: str, symbol: str | None) -> Fault | None:
    if not symbol:
        example = "BTC" if (name, category) == ("trades", "option") else "BTCUSDT"
        what = "a pool: USDT, USDC or inverse" if name in POOLED else f"a symbol, e.g. {example}"
        return Fault("symbol", "missing_symbol", f"{name} requires {what}")
    if _UNFIT.search(symbol):
        allowed = "must be Bybit's symbol without white space or control characters"
        return Fault("symbol", "bad_symbol", f"{symbol!r} {allowed}")
    pools = POOLS.get(category, ()) if name == "insurance" else sum(POOLS.values(), ())
    if name in POOLED and symbol not in pools:
        allowed = f"must be one of {', '.join(pools)}" if pools else "is not a pool"
        return Fault("symbol", "bad_symbol", f"{symbol!r} {allowed} for {name} in {category}")
    return None


def _allowed(kind: Kind, category: str) -> tuple[str, ...]:
    if kind.parameter == "depth":
        return DEPTHS.get(category, DEPTHS["linear"])
    return INTERVALS if kind.parameter == "interval" else ("",)


def _check_length(key: str, field: str) -> None:
    if len(_GAP + key) > MOST_KEY_BYTES:  # percent-encoded, hence ASCII
        _refuse(
            field,
            "key_too_long",
            f"makes a routing key of {len(key)} bytes, the maximum is {MOST_KEY_BYTES - len(_GAP)}; shorten it",
        )


def _escaped(text: str) -> str:
    """Percent-encoded as UTF-8, except A-Za-z0-9_- (quote would also keep `.` and `~`)."""
    return quote(text, safe="").replace(".", "%2E").replace("~", "%7E")


def _refuse(field: str, code: str, message: str) -> NoReturn:
    raise BadChannel([Fault(field, code, message)])
