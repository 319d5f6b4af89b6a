"""Faults happen where, as often and as long as requested."""

import json
from typing import Any

import pytest

from simulator.faults import GARBAGE, REPLACING, TEXT, Faults, Frame, Where, garbage
from simulator.fields import BadField, Fields

BOOK = Where("linear", "c1", "orderbook.50.A")
DELTA = '{"topic":"orderbook.50.A","type":"delta","ts":5,"data":{"s":"A","b":[],"a":[],"u":7,"seq":9},"cts":4}'
SNAPSHOT = DELTA.replace("delta", "snapshot")


class Now:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def faults(now: Now) -> Faults:
    return Faults(now)


def texts(frames: list[Frame]) -> list[str]:
    return [frame.payload.decode() for frame in frames]


def test_without_faults_everybody_gets_the_frame(faults: Faults):
    assert faults.data(BOOK, DELTA) == [Frame(DELTA.encode(), TEXT)]


def test_a_fault_happens_as_often_as_it_was_set(faults: Faults):
    faults.add("mute", {}, 2, None, {})
    assert [len(faults.data(BOOK, DELTA)) for _ in range(3)] == [0, 0, 1]
    assert faults.listed() == []


def test_a_fault_ends_with_its_time(faults: Faults, now: Now):
    faults.add("mute", {}, None, 5, {})
    assert faults.data(BOOK, DELTA) == []
    now.s += 5
    assert texts(faults.data(BOOK, DELTA)) == [DELTA]


@pytest.mark.parametrize(
    "elsewhere", [Where("spot", "c1", BOOK.topic), Where("linear", "c2", BOOK.topic), Where("linear", "c1", "x")]
)
def test_a_fault_stays_where_it_belongs(faults: Faults, elsewhere: Where):
    faults.add("mute", {"endpoint": "linear", "connection": "c1", "topic": BOOK.topic}, None, None, {})
    assert faults.data(BOOK, DELTA) == []
    assert texts(faults.data(elsewhere, DELTA)) == [DELTA]


def test_clearing_and_removing(faults: Faults):
    first, _ = (faults.add("mute", {}, None, None, {}) for _ in range(2))
    assert faults.remove(first.id)
    assert not faults.remove(first.id)
    faults.clear()
    assert texts(faults.data(BOOK, DELTA)) == [DELTA]


def test_only_updates_are_lost_so_that_u_jumps(faults: Faults):
    faults.add("lose_update", {}, 1, None, {})
    assert texts(faults.data(BOOK, SNAPSHOT)) == [SNAPSHOT]
    assert faults.data(Where("linear", "c1", "tickers.A"), DELTA) != []
    assert faults.data(BOOK, DELTA) == []


def test_twins(faults: Faults):
    faults.add("duplicate", {}, 1, None, {})
    assert texts(faults.data(BOOK, DELTA)) == [DELTA, DELTA]


def test_reordered_frames_change_places(faults: Faults):
    faults.add("reorder", {"connection": "c1"}, 1, None, {})
    assert faults.data(BOOK, "first") == []
    assert texts(faults.data(Where("linear", "c2", "x"), "of another connection")) == ["of another connection"]
    assert texts(faults.data(BOOK, "second")) == ["second", "first"]


def test_slow_and_stalled_frames(faults: Faults):
    faults.add("slow", {}, 1, None, {"pieces": 3, "pause_s": 0.5})
    assert faults.data(BOOK, DELTA) == [Frame(DELTA.encode(), TEXT, "slow", 3, 0.5)]
    faults.add("stall", {}, 1, None, {})
    assert [frame.pace for frame in faults.data(BOOK, DELTA)] == ["half"]


def test_garbage_comes_besides_the_frame_or_instead_of_it(faults: Faults):
    for instead, expected in ((False, 2), (True, 1)):
        faults.add("garbage", {}, 1, None, {"form": "not_json", "instead": instead, "bytes": 1})
        assert len(faults.data(BOOK, DELTA)) == expected


@pytest.mark.parametrize("form", [form for form in GARBAGE if form not in (*REPLACING, "array", "unknown_topic")])
def test_most_garbage_is_no_json_object_or_names_no_time(form: str):
    payload = garbage(form, BOOK.topic, DELTA, size=1000).payload
    try:
        body = json.loads(payload, parse_constant=_no_constants)
    except (ValueError, RecursionError):
        return
    assert "ts" not in body


def _no_constants(name: str) -> Any:
    raise ValueError(name)


def test_garbage_that_is_json_all_the_same():
    whole = json.loads(DELTA)
    assert json.loads(garbage("array", BOOK.topic, DELTA).payload) == [whole]
    assert json.loads(garbage("unknown_topic", BOOK.topic, DELTA).payload)["topic"] == "nobody.ever.asked"
    assert "ts" not in json.loads(garbage("missing_ts", BOOK.topic, DELTA).payload)
    more = json.loads(garbage("unknown_fields", BOOK.topic, DELTA).payload)
    assert more.pop("newField")
    assert more == whole


@pytest.mark.parametrize("text", ['{"topic":"t","ts":5}', '{"id":"i","creationTime":5,"data":[]}'])
def test_times_are_taken_out_wherever_they_stand(text: str):
    assert set(json.loads(garbage("missing_ts", "t", text).payload)) <= {"topic", "id", "data"}


def test_huge_is_as_huge_as_asked():
    assert len(garbage("huge", "t", DELTA, size=10_000).payload) > 10_000


def test_fields_are_read_and_checked():
    fields = Fields({"name": "a", "count": 3, "pause": 0.5, "flag": True})
    assert fields.text("name", among=("a", "b")) == "a"
    assert fields.whole("count", None, 1, 5) == 3
    assert fields.number("pause", None, 0, 1) == 0.5
    assert fields.flag("flag", False)
    fields.done()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "c"}, "name is 'c'; allowed is one of a, b"),
        ({}, "name is None; allowed is one of a, b"),
        ({"name": "a", "count": 9}, "count is 9; allowed is a whole number from 1 to 5"),
        ({"name": "a", "count": True}, "count is True; allowed is a whole number from 1 to 5"),
        ({"name": "a", "extra": 1}, "extra is 1; allowed is only the fields count, name"),
        ([1], "body is [1]; allowed is a JSON object"),
    ],
)
def test_what_is_wrong_is_named(body: Any, message: str):
    with pytest.raises(BadField) as bad:
        read(body)
    assert str(bad.value) == message


def read(body: Any) -> None:
    fields = Fields(body)
    fields.text("name", among=("a", "b"))
    fields.whole("count", 1, 1, 5)
    fields.done()
