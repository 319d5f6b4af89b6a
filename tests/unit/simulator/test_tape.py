"""The recorded session in its endless loop stays a stream that the exchange could have sent."""

import json
import re
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from simulator import recordings
from simulator.recordings import Recorded, Recording
from simulator.tape import Cue, Loop, Shift, Tape, loop_of

NOW_MS = 1_795_165_000_000
MINUTE_MS = 60_000
NUMBERS = re.compile(r'"(?:ts|cts|u|seq|cs|T|start|end|timestamp)":\d+|"i":"[^"]+"')


@pytest.fixture(scope="module")
def three_minutes(loop: Loop) -> list[Cue]:
    tape = Tape(loop, "", NOW_MS)
    list(tape.due(NOW_MS))
    return list(tape.due(NOW_MS + 3 * MINUTE_MS))


@pytest.fixture(scope="module")
def pushed(three_minutes: list[Cue]) -> dict[str, list[dict[str, Any]]]:
    by_topic = defaultdict(list)
    for cue in three_minutes:
        by_topic[cue.topic].append(json.loads(cue.text))
    return by_topic


def test_books_count_up_by_one_across_the_seams(pushed):
    for topic, frames in pushed.items():
        if topic.startswith("orderbook."):
            assert [b["data"]["u"] - a["data"]["u"] for a, b in pairwise(frames)] == [1] * (len(frames) - 1)
            assert len([frame for frame in frames if frame["type"] == "snapshot"]) >= 4


def test_times_and_sequences_never_fall_back(pushed):
    for frames in pushed.values():
        for before, after in pairwise(frames):
            assert before["ts"] <= after["ts"]
            assert before.get("cts", 0) <= after.get("cts", 0)
            assert before.get("cs", 0) < after.get("cs", 1)
            if "seq" in before["data"]:
                assert before["data"]["seq"] < after["data"]["seq"]


def test_the_wall_clock_is_what_frames_say(three_minutes):
    assert all(cue.at_ms == int(re.findall(r'"ts":(\d+)', cue.text)[0]) for cue in three_minutes)
    assert three_minutes[0].at_ms - NOW_MS < 100
    assert NOW_MS + 3 * MINUTE_MS - three_minutes[-1].at_ms < 100


@pytest.mark.parametrize("topic", ["orderbook.200.BTCUSDT", "tickers.BTCUSDT"])
def test_busy_topics_are_never_silent_for_two_seconds(three_minutes, topic):
    times = [cue.at_ms for cue in three_minutes if cue.topic == topic]
    assert max(after - before for before, after in pairwise(times)) < 2000


def test_every_trade_id_is_pushed_once(pushed):
    ids = [row["i"] for topic in pushed if "Trade" in topic for frame in pushed[topic] for row in frame["data"]]
    assert len(ids) > 500
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", i) for i in ids)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"])
def test_candles_grow_and_roll_over_at_the_minute(pushed, symbol):
    entries = [entry for frame in pushed[f"kline.1.{symbol}"] for entry in frame["data"]]
    assert [entry["start"] % MINUTE_MS for entry in entries] == [0] * len(entries)
    assert len([entry for entry in entries if entry["confirm"]]) == 3
    for before, after in pairwise(entries):
        if before["confirm"]:
            assert after["start"] == before["start"] + MINUTE_MS
            continue
        assert after["start"] == before["start"]
        assert after["open"] == before["open"]
        assert float(after["high"]) >= float(before["high"])
        assert float(after["low"]) <= float(before["low"])
        assert float(after["volume"]) >= float(before["volume"])


def test_a_candle_holds_all_trades_of_its_minute(pushed):
    confirmed = [e for frame in pushed["kline.1.SOLUSDT"] for e in frame["data"] if e["confirm"]][1]
    trades = [row for frame in pushed["publicTrade.SOLUSDT"] for row in frame["data"]]
    inside = [row for row in trades if confirmed["start"] <= row["T"] <= confirmed["end"]]
    assert sum(float(row["v"]) for row in inside) == pytest.approx(float(confirmed["volume"]))


def test_only_the_shifted_numbers_differ_from_the_recording(three_minutes):
    recorded = {NUMBERS.sub("", frame.text) for frame in recordings.shipped().frames}
    for cue in three_minutes:
        if not cue.topic.startswith("kline."):
            assert NUMBERS.sub("", cue.text) in recorded


def test_the_recorded_part_keeps_its_order_and_pace(loop):
    recorded = [f for f in recordings.shipped().frames if f.topic == "tickers.ETHUSDT"]
    start_ms = loop.start_ms + (NOW_MS - loop.start_ms) // MINUTE_MS * MINUTE_MS
    tape = Tape(loop, "", start_ms)
    list(tape.due(start_ms - 1))
    pushed = [cue for cue in tape.due(start_ms + 44_000) if cue.topic == "tickers.ETHUSDT"]
    moved = start_ms - loop.start_ms
    assert [cue.at_ms - moved for cue in pushed[: len(recorded)]] == [json.loads(f.text)["ts"] for f in recorded]


def test_a_restart_goes_on_where_the_stream_would_be(loop, three_minutes):
    later_ms = NOW_MS + 90_500
    again = Tape(loop, "", later_ms)
    list(again.due(later_ms))
    assert list(again.due(later_ms + 20_000)) == [
        cue for cue in three_minutes if later_ms < cue.at_ms <= later_ms + 20_000
    ]


def test_another_salt_gives_other_trade_ids(loop):
    one, other = (list(Tape(loop, salt, NOW_MS).due(NOW_MS)) for salt in ("a", "b"))
    assert {cue.text for cue in one if "Trade" in cue.topic}.isdisjoint(cue.text for cue in other)


def test_a_shift_leaves_white_space_and_other_numbers_alone():
    text = '{"topic": "x", "ts": 5, "data":{"u":1,"seq":2,"b":[["1","2"]],"i":"a-b"},"cts":7}'
    shift = Shift(time_ms=10, u=100, seq=1000, new_id=str.upper)
    assert shift.apply(text) == (
        '{"topic": "x", "ts": 15, "data":{"u":101,"seq":1002,"b":[["1","2"]],"i":"A-B"},"cts":17}'
    )


def test_a_recording_without_a_roll_over_leaves_candles_to_the_made_up_market():
    entry = '{"start":0,"end":59999,"interval":"1","open":"1","close":"1","high":"1","low":"1","volume":"0",'
    entry += '"turnover":"0","confirm":false,"timestamp":1786310820000}'
    kline = f'{{"topic":"kline.1.A","data":[{entry}],"ts":1786310820000,"type":"snapshot"}}'
    ticker = '{"topic":"tickers.A","type":"snapshot","data":{"symbol":"A"},"cs":1,"ts":1786310820000}'
    frames = (Recorded(0.0, "kline.1.A", kline), Recorded(0.0, "tickers.A", ticker))
    recording = Recording("linear", frames, frozenset())
    assert {cue.topic for cue in loop_of(recording).cues} == {"tickers.A"}


def test_a_book_plays_from_its_first_snapshot():
    delta = '{"topic":"orderbook.50.A","type":"delta","ts":1786310820000,"data":{"s":"A","u":1,"seq":1}}'
    snapshot = delta.replace("delta", "snapshot")
    frames = tuple(Recorded(0.0, "orderbook.50.A", text) for text in (delta, snapshot))
    recording = Recording("linear", frames, frozenset())
    assert '"snapshot"' in loop_of(recording).cues[0].text
