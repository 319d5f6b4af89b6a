"""A channel by its channel type, its topic and its routing key."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.channels import ENDPOINTS, FIXED, POOLED, POOLS, PUBLIC, BadChannel, Request, of_topic, resolve
from simulator import topics as simulated

EVENT_KEY = "raw.event.event%2Eticker%2Eall%2EBTC"


@pytest.mark.parametrize(
    ("request_", "topic", "key"),
    [
        (Request("trades", "BTCUSDT"), "publicTrade.BTCUSDT", "trades.linear.BTCUSDT"),
        (Request("orderbook", "ETHUSDT", "spot"), "orderbook.50.ETHUSDT", "orderbook.spot.ETHUSDT.50"),
        (Request("orderbook", "ETHUSDT", depth=200), "orderbook.200.ETHUSDT", "orderbook.linear.ETHUSDT.200"),
        (Request("kline", "BTCUSD", "inverse", interval="D"), "kline.D.BTCUSD", "kline.inverse.BTCUSD.D"),
        (Request("kline", "BTCUSDT"), "kline.1.BTCUSDT", "kline.linear.BTCUSDT.1"),
        (Request("orderbook", "BTC-1-C", "option"), "orderbook.25.BTC-1-C", "orderbook.option.BTC-1-C.25"),
        (Request("ticker", "X_SOL/USDT", "spread"), "tickers.X_SOL/USDT", "ticker.spread.X_SOL%2FUSDT"),
        (Request("insurance", "USDT"), "insurance.USDT", "insurance.linear.USDT"),
        (Request("balance"), "wallet", "balance.private"),
        (Request("execution_fast"), "execution.fast", "execution_fast.private"),
        (Request("system_status"), "system.status", "system_status.status"),
        (Request(topic="orderbook.rpi.BTCUSDT"), "orderbook.rpi.BTCUSDT", "raw.linear.orderbook%2Erpi%2EBTCUSDT"),
        (Request("raw", topic="strategy", category="private"), "strategy", "raw.private.strategy"),
        (Request(topic="event.ticker.all.BTC", category="event"), "event.ticker.all.BTC", EVENT_KEY),
        (Request(topic="tickers.BTCUSDT", category="event"), "tickers.BTCUSDT", "raw.event.tickers%2EBTCUSDT"),
        (Request(topic="system.status", category="event"), "system.status", "raw.event.system%2Estatus"),
        (Request(topic="order.event"), "order.event", "raw.private.order%2Eevent"),
        (Request("raw", topic="execution.event"), "execution.event", "raw.private.execution%2Eevent"),
        (Request(topic="position.event", category="private"), "position.event", "raw.private.position%2Eevent"),
        (Request(topic="order.event", category="event"), "order.event", "raw.event.order%2Eevent"),
    ],
)
def test_a_request_means_one_topic_and_one_key(request_: Request, topic: str, key: str):
    channel = resolve(request_)
    assert (channel.topic, channel.routing_key) == (topic, key)


@pytest.mark.parametrize(
    ("parts", "topic"),
    [
        (Request("trades", "BTCUSDT"), Request(topic="publicTrade.BTCUSDT")),
        (Request("orderbook", "BTCUSDT", "spot", depth=200), Request(topic="orderbook.200.BTCUSDT", category="spot")),
        (Request("kline", "BTCUSDT", interval="60"), Request(topic="kline.60.BTCUSDT")),
        (Request("order"), Request(topic="order")),
        (Request("system_status"), Request(topic="system.status")),
        (Request("balance"), Request(topic="wallet", category="private")),
    ],
)
def test_parts_and_topic_mean_the_same(parts: Request, topic: Request):
    assert resolve(parts) == resolve(topic)


@pytest.mark.parametrize(
    ("request_", "field", "code"),
    [
        (Request("trade", "BTCUSDT"), "channel_type", "unknown_channel_type"),
        (Request(), "channel_type", "missing_field"),
        (Request("trades"), "symbol", "missing_symbol"),
        (Request("orderbook", "BTCUSDT", depth=500), "depth", "bad_depth"),
        (Request("orderbook", "X", "option", depth=50), "depth", "bad_depth"),
        (Request("kline", "BTCUSDT", interval="2"), "interval", "bad_interval"),
        (Request("kline", "X", "option"), "category", "bad_category"),
        (Request("liquidation", "BTCUSDT", "spot"), "category", "bad_category"),
        (Request("trades", "BTCUSDT", depth=1), "depth", "unexpected_field"),
        (Request("order", category="linear"), "category", "bad_category"),
        (Request("order", "BTCUSDT"), "symbol", "unexpected_field"),
        (Request(topic="order.linear"), "topic", "categorised_topic"),
        (Request(topic="execution.fast.spot"), "topic", "categorised_topic"),
        (Request("raw", topic="position.inverse", category="private"), "topic", "categorised_topic"),
        (Request(topic="dcp.spot"), "topic", "refused_topic"),
        (Request("raw", topic="dcp.option", category="linear"), "topic", "refused_topic"),
        (Request("trades", "X", "event"), "category", "bad_category"),
        (Request(topic="dcp.future", category="private"), "topic", "refused_topic"),
        (Request("raw"), "topic", "missing_topic"),
        (Request("raw", topic="publicTrade.BTCUSDT"), "channel_type", "conflict"),
        (Request("trades", "ETHUSDT", topic="publicTrade.BTCUSDT"), "symbol", "conflict"),
        (Request("insurance", "BTC"), "symbol", "bad_symbol"),
        (Request("trades", "BTC USDT"), "symbol", "bad_symbol"),
        (Request("trades", "ü" * 100), "symbol", "key_too_long"),
        (Request(topic="orderbook.500.BTCUSDT"), "depth", "bad_depth"),
    ],
)
def test_an_invalid_request_names_the_field(request_: Request, field: str, code: str):
    with pytest.raises(BadChannel) as rejected:
        resolve(request_)
    assert (field, code) in [(fault.field, fault.code) for fault in rejected.value.faults]


def test_all_invalid_fields_are_named_at_once():
    with pytest.raises(BadChannel) as rejected:
        resolve(Request("orderbook", None, depth=7, interval="1"))
    assert {fault.field for fault in rejected.value.faults} == {"symbol", "depth", "interval"}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("depth"), "channel_type: 'depth' must be one of trades, ticker, orderbook, kline,"),
        (Request(), "channel_type: is required unless topic is given: one of trades,"),
        (Request("raw"), "topic: is required for channel type raw: Bybit's topic"),
        (
            Request("order", category="linear"),
            "category: 'linear' must be 'private' or omitted for order; Bybit rejects",
        ),
        (Request("kline", "BTC", "option"), "category: 'option' must be one of linear, spot, inverse for kline"),
        (Request("orderbook", "X", depth=7), "depth: '7' must be one of 50, 1, 200, 1000 for orderbook in linear"),
        (Request("kline", "X", interval="2"), "interval: '2' must be one of 1, 3, 5,"),
        (Request("trades", "X", depth=50), "depth: trades has no depth; omit it"),
        (Request("trades"), "symbol: trades requires a symbol, e.g. BTCUSDT"),
        (Request("trades", category="option"), "symbol: trades requires a symbol, e.g. BTC"),
        (Request("insurance"), "symbol: insurance requires a pool: USDT, USDC or inverse"),
        (Request("insurance", "BTC"), "symbol: 'BTC' must be one of USDT, USDC for insurance in linear"),
        (Request("insurance", "BTC", "spot"), "symbol: 'BTC' is not a pool for insurance in spot"),
        (Request("trades", "A B"), "symbol: 'A B' must be Bybit's symbol without white space"),
        (Request(topic="A B"), "topic: 'A B' must be Bybit's topic without white space"),
        (Request(topic="x", category="y"), "category: 'y' must be one of spot, linear,"),
        (Request(topic="dcp.future"), "topic: 'dcp.future' cannot be subscribed to: it pushes no data,"),
        (Request(topic="order.linear"), "topic: Bybit rejects 'order.linear' beside 'order'; subscribe to 'order'"),
        (
            Request("trades", "X", topic="publicTrade.Y"),
            "symbol: 'X' contradicts topic 'publicTrade.Y', which means 'Y'; omit one of the two",
        ),
        (Request("trades", "é" * 60), "symbol: makes a routing key of 374 bytes, the maximum is 251; shorten it"),
    ],
)
def test_a_message_names_the_field_the_value_and_the_remedy(request_: Request, message: str):
    with pytest.raises(BadChannel) as rejected:
        resolve(request_)
    assert message in str(rejected.value)


names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=20)


@given(names, names)
def test_keys_and_topics_are_one_to_one(one: str, other: str):
    channels = [
        _resolved(Request("trades", name, category)) for name in (one, other) for category in ("spot", "linear")
    ]
    found = [channel for channel in channels if channel is not None]
    keys = {channel.routing_key for channel in found}
    assert len(keys) == len({(channel.endpoint, channel.topic) for channel in found})
    assert all(key.isascii() and key.count(".") == 2 for key in keys)


@given(st.sampled_from(sorted(PUBLIC)), names, st.sampled_from(["spot", "linear", "inverse", "option", "spread"]))
def test_a_held_topic_leads_back_to_its_channel(name: str, symbol: str, category: str):
    channel = _resolved(Request(name, symbol, category))
    if channel is not None:
        assert of_topic(channel.endpoint, channel.topic) == channel


@pytest.mark.parametrize("name", sorted(FIXED))
def test_a_fixed_topic_leads_back_to_its_channel(name: str):
    channel = resolve(Request(name))
    assert of_topic(channel.endpoint, channel.topic) == channel


def _resolved(request_: Request):
    try:
        return resolve(request_)
    except BadChannel:
        return None


@given(
    endpoint=st.sampled_from([*ENDPOINTS, "nowhere", ""]) | st.text(max_size=9),
    topic=st.text(st.characters(exclude_categories=()), max_size=30)
    | st.sampled_from(["orderbook." + "9" * 5000 + ".X", "orderbook..", "kline.", "publicTrade.", "\ud800"]),
)
def test_any_topic_is_a_channel_or_refused(endpoint: str, topic: str):
    with suppress(BadChannel):
        assert of_topic(endpoint, topic).topic == topic


@pytest.mark.parametrize(
    ("channel_type", "category"), [(name, category) for name, kind in PUBLIC.items() for category in kind.categories]
)
def test_the_simulator_has_the_topics_of_every_public_channel_type(channel_type: str, category: str):
    symbol = POOLS[category][0] if channel_type in POOLED else "BTCUSDT"
    channel = resolve(Request(channel_type, symbol, category))
    assert simulated.parsed(category, channel.topic) is not None


def test_the_simulator_has_every_private_channel_type():
    assert {topic for endpoint, topic in FIXED.values() if endpoint == "private"} <= simulated.PRIVATE_KINDS.keys()
