"""By which key an element is known, on the socket and in REST's lists."""

import json
from typing import Any

import pytest

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
def test_the_socket_and_rest_know_an_element_by_the_same_key(kind: str, live: dict[str, Any], listed: Any):
    [element] = identity.elements(kind, [listed])
    assert identity.identities(kind, [frame(live)]) == {element.key}
    assert json.loads(element.data) == listed


@pytest.mark.parametrize("field", ["updatedTime", "orderStatus", "cumExecQty", "cancelType"])
def test_another_state_of_an_order_is_another_element(field: str):
    changed = ORDER | {field: "7"}
    assert len(identity.identities("order", [frame(ORDER, changed)])) == 2


def test_a_candle_that_is_not_closed_is_not_known_yet():
    assert identity.identities("kline", [frame({"start": 1, "confirm": False})]) == set()


@pytest.mark.parametrize("strange", [b"{}", b"no", b'{"data":[{}]}', b'{"data":7}', b'{"data":["x"]}'])
def test_a_frame_that_makes_no_sense_has_no_keys(strange: bytes):
    assert identity.identities("execution", [strange, frame({"execId": "e"})]) == {"e"}


def test_the_oldest_comes_first_and_of_equal_times_the_one_that_bybit_lists_last():
    rows = [{"execId": name, "execTime": at} for name, at in (("d", "9"), ("c", "5"), ("b", "5"), ("a", "1"))]
    assert [element.key for element in identity.elements("execution", rows)] == ["a", "b", "c", "d"]


def row(start_ms: int) -> list[str]:
    return [str(start_ms), "1", "1", "1", "1", "1", "1"]


def test_only_candles_that_ended_in_the_window_are_closed_ones_of_it():
    rows = [row(180_000), row(120_000), row(60_000), row(0)]
    assert identity.closed_candles(rows, "1", from_ms=120_000, to_ms=200_000) == [row(120_000), row(60_000)]


def test_a_month_is_over_when_the_next_one_has_begun():
    february, march = row(1_769_904_000_000), row(1_772_323_200_000)
    to_ms = 1_772_323_200_000 + identity.DAY_MS
    assert identity.closed_candles([march, february], "M", from_ms=0, to_ms=to_ms) == [february]
