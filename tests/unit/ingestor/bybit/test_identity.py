"""What identifies an element, in a push and in a REST list."""

import json
from typing import Any

import pytest

from common.channels import CHANNEL_TYPES
from ingestor.bybit import identity

ORDER = {"orderId": "o1", "updatedTime": "5", "orderStatus": "Filled", "cumExecQty": "0.10", "cancelType": "UNKNOWN"}


def frame(*rows: dict[str, Any]) -> bytes:
    return json.dumps({"topic": "t", "data": list(rows)}).encode()


@pytest.mark.parametrize(
    ("kind", "live", "listed"),
    [
        ("execution", {"execId": "e1"}, {"execId": "e1", "execTime": "5"}),
        ("order", ORDER, ORDER | {"cumExecQty": "0.1", "cancelType": ""}),
        ("trades", {"i": "t1", "T": 5}, {"execId": "t1", "time": "5"}),
        ("kline", {"start": 60000, "confirm": True}, ["60000", "1", "2", "1", "2", "9", "9"]),
    ],
)
def test_an_element_has_the_same_key_in_a_push_and_in_rest(kind: str, live: dict[str, Any], listed: Any):
    [element] = identity.elements(kind, [listed])
    assert identity.identities(kind, [frame(live)]) == {element.key}
    assert json.loads(element.data) == listed


@pytest.mark.parametrize("field", ["updatedTime", "orderStatus", "cumExecQty", "cancelType"])
def test_another_state_of_an_order_is_another_element(field: str):
    changed = ORDER | {field: "7"}
    assert len(identity.identities("order", [frame(ORDER, changed)])) == 2


def test_a_candle_that_is_not_closed_has_no_key_yet():
    assert identity.identities("kline", [frame({"start": 1, "confirm": False})]) == set()


@pytest.mark.parametrize("strange", [b"{}", b"no", b'{"data":[{}]}', b'{"data":7}', b'{"data":["x"]}'])
def test_a_frame_of_another_shape_has_no_keys(strange: bytes):
    assert identity.identities("execution", [strange, frame({"execId": "e"})]) == {"e"}


def test_the_oldest_comes_first_and_of_equal_times_the_one_that_bybit_lists_last():
    rows = [{"execId": name, "execTime": at} for name, at in (("d", "9"), ("c", "5"), ("b", "5"), ("a", "1"))]
    assert [element.key for element in identity.elements("execution", rows)] == ["a", "b", "c", "d"]


def row(start_ms: int) -> list[str]:
    return [str(start_ms), "1", "1", "1", "1", "1", "1"]


def test_only_candles_that_ended_in_the_window_are_closed_ones():
    rows = [row(180_000), row(120_000), row(60_000), row(0)]
    assert identity.closed_candles(rows, "1", from_ms=120_000, to_ms=200_000) == [row(120_000), row(60_000)]


def test_a_month_ends_when_the_next_one_begins():
    february, march = row(1_769_904_000_000), row(1_772_323_200_000)
    to_ms = 1_772_323_200_000 + identity.DAY_MS
    assert identity.closed_candles([march, february], "M", from_ms=0, to_ms=to_ms) == [february]


@pytest.mark.parametrize("time_ms", [-1, identity.LATEST_MS + 1])
def test_a_row_with_an_impossible_time_is_malformed(time_ms: int):
    with pytest.raises(ValueError, match="must be a time"):
        identity.elements("execution", [{"execId": "e", "execTime": str(time_ms)}])


@pytest.mark.parametrize(("interval", "minutes"), [("1", 1), ("720", 720), ("D", 1440), ("W", 10080), ("M", 44640)])
def test_a_candle_lasts_as_long_as_its_interval(interval: str, minutes: int):
    assert identity.interval_ms(interval) == minutes * identity.MINUTE_MS


POSITION = {"symbol": "BTCUSDT", "positionIdx": 0, "seq": 7, "updatedTime": "5", "size": "1"}
CANDLE = {"start": 60000, "timestamp": 60001, "confirm": False, "close": "1"}


PUSHES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("trades", {"data": [{"i": "1"}, {"i": "2"}]}, {"data": [{"i": "1"}]}),
    ("orderbook", {"data": {"u": 5, "seq": 7}}, {"data": {"u": 5, "seq": 8}}),
    ("orderbook", {"data": {"u": 5, "seq": 7}}, {"data": {"u": 6, "seq": 7}}),
    ("ticker", {"cs": 1, "type": "delta", "data": {}}, {"cs": 2, "type": "delta", "data": {}}),
    ("ticker", {"cs": 1, "type": "delta", "data": {}}, {"cs": 1, "type": "snapshot", "data": {}}),
    ("ticker", {"cs": 1, "type": "delta", "data": {}}, {"cs": 1, "type": "delta", "data": {"markPrice": "1"}}),
    ("kline", {"data": [CANDLE]}, {"data": [CANDLE | {"confirm": True}]}),
    ("kline", {"data": [CANDLE]}, {"data": [CANDLE | {"timestamp": 60002}]}),
    ("kline", {"data": [CANDLE]}, {"data": [CANDLE | {"start": 120000}]}),
    ("liquidation", {"data": [{"p": "1"}]}, {"data": [{"p": "2"}]}),
    ("order", {"data": [ORDER]}, {"data": [ORDER | {"orderStatus": "New"}]}),
    ("execution", {"data": [{"execId": "1"}]}, {"data": [{"execId": "2"}]}),
    ("execution_fast", {"data": [{"execId": "1"}]}, {"data": [{"execId": "2"}]}),
    ("position", {"data": [POSITION]}, {"data": [POSITION | {"size": "2"}]}),
    ("balance", {"id": "a", "data": []}, {"id": "b", "data": []}),
    ("greeks", {"id": "a", "data": [{"delta": "1"}]}, {"id": "a", "data": [{"delta": "2"}]}),
]
WITHOUT_A_RULE = {"price_limit", "insurance", "adl_alert", "system_status", "raw"}
"""Of these `ts` and data identify a push."""


@pytest.mark.parametrize(("channel_type", "push", "other"), PUSHES)
def test_a_push_has_the_same_key_on_each_connection_and_another_push_has_another(
    channel_type: str, push: dict[str, Any], other: dict[str, Any]
):
    first, second = ({"ts": ts, "creationTime": ts} | push for ts in (1, 2))
    key = identity.push_key(channel_type, json.dumps(first).encode())
    assert identity.push_key(channel_type, json.dumps(second).encode()) == key
    assert identity.push_key(channel_type, json.dumps(other).encode()) != key


def test_it_is_decided_for_every_channel_type_whether_its_pushes_have_a_rule():
    assert {channel_type for channel_type, *_ in PUSHES} | WITHOUT_A_RULE == set(CHANNEL_TYPES)


def test_a_push_of_a_channel_without_a_rule_is_the_same_with_the_same_time_and_data():
    push = {"ts": 1, "topic": "x", "data": {"a": 1}}
    key = identity.push_key("raw", json.dumps(push).encode())
    assert identity.push_key("raw", json.dumps(push | {"id": "of the connection"}).encode()) == key
    assert identity.push_key("raw", json.dumps(push | {"ts": 2}).encode()) != key
    assert identity.push_key("raw", json.dumps(push | {"data": {}}).encode()) != key
