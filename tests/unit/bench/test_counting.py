"""What the bench sends can be counted, and what goes wrong is noticed."""

import json
from collections import defaultdict

import pytest

from bench.counter import EventCounter
from bench.frames import MARK_DIGITS, MARK_ENDS, Mix, mark, read_mark, topics
from common.channels import of_topic

KEYS = {topic: of_topic("linear", topic).routing_key.encode() for topic in topics()}
TS = b"1786310819383"


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    mix = Mix()
    return [frame[2 if frame[1] < 126 else 4 :] for frame in (mix.next(n, 7, TS) for n in range(3000))]


def key(frame: bytes) -> bytes:
    return KEYS[json.loads(frame)["topic"]]


def counter(frames: list[bytes]) -> EventCounter:
    counted = EventCounter(first=0, most=3000, wrapping=1)
    for frame in frames:
        counted.arrive()
        counted.keep(key(frame), False, b'{"data":' + frame + b"}")
    return counted


def test_a_mark_is_read_as_it_was_written():
    assert read_mark(mark(1234, 9_999_999_999)) == (1234, 9_999_999_999)


def test_every_frame_carries_its_number_where_the_consumer_looks(frames: list[bytes]):
    for number, frame in enumerate(frames):
        end = len(frame) - MARK_ENDS[key(frame).split(b".")[0]]
        assert read_mark(frame[end - MARK_DIGITS : end]) == (number, 7)


def test_books_begin_with_a_snapshot_and_have_no_hole(frames: list[bytes]):
    books = defaultdict(list)
    for book in (json.loads(frame) for frame in frames if b"orderbook" in frame[:30]):
        books[book["topic"]].append((book["type"], book["data"]["u"]))
    for pushes in books.values():
        assert [kind for kind, _ in pushes] == ["snapshot"] + ["delta"] * (len(pushes) - 1)
        assert [u for _, u in pushes] == list(range(pushes[0][1], pushes[0][1] + len(pushes)))


def test_all_that_came_once_and_in_order_is_no_fault(frames: list[bytes]):
    report = counter(frames).report(3000, 0)
    assert [report[name] for name in ("received", "lost", "duplicated", "disordered", "foreign")] == [3000, 0, 0, 0, 0]


def test_what_is_missing_comes_twice_or_too_late_is_counted(frames: list[bytes]):
    again = [each for each in frames if key(each) == key(frames[0])]
    lost, early, late = again[3], again[5], again[6]
    moved = [each for each in frames if each not in (lost, early, late)] + [late, early, late]
    report = counter(moved).report(3000, 0)
    assert [report[name] for name in ("received", "lost", "duplicated", "disordered")] == [2999, 1, 1, 2]


def test_a_repeat_is_not_out_of_order(frames: list[bytes]):
    report = counter(frames + frames[:100]).report(3000, 0)
    assert (report["duplicated"], report["disordered"]) == (100, 0)
