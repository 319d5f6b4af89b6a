"""The small pure parts: books, candles, the idle rule, instruments' dates, recordings, settings."""

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from simulator import recordings
from simulator.books import Book, Change, Window
from simulator.candles import Candle, Trade, candle_start
from simulator.idle import Idle, limit_of
from simulator.instruments import catalogue
from simulator.recordings import UnusableRecording
from simulator.settings import Settings


def at(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


def test_a_window_reports_levels_that_enter_and_leave():
    book = Book()
    book.apply([("9", "1"), ("8", "1"), ("7", "1")], [("10", "1")])
    window = Window(book, 2)
    book.bids.put("9", "0")
    book.asks.put("10.0", "2")
    assert window.moved() == Change([("9", "0"), ("7", "1")], [("10.0", "2"), ("10", "0")])
    assert not window.moved()


@pytest.mark.parametrize(
    ("interval", "moment", "start"),
    [
        ("1", at(2026, 11, 20, 9, 35, 59), at(2026, 11, 20, 9, 35)),
        ("240", at(2026, 11, 20, 9, 35), at(2026, 11, 20, 8)),
        ("D", at(2026, 11, 20, 9, 35), at(2026, 11, 20)),
        ("W", at(2026, 11, 20, 9, 35), at(2026, 11, 16)),
        ("M", at(2026, 11, 20, 9, 35), at(2026, 11, 1)),
    ],
)
def test_candles_start_where_their_interval_does(interval: str, moment: int, start: int):
    assert candle_start(interval, moment) == start


def test_a_month_ends_with_the_month():
    assert Candle.opened("M", at(2026, 12, 5), Decimal(1)).end_ms == at(2027, 1, 1) - 1


def test_a_candle_takes_trades_in():
    candle = Candle.opened("1", 60_000, Decimal("2.0"))
    for price in ("2.5", "1.5", "2.1"):
        candle.add(Trade(61_000, "A", "Buy", "2", price, "", 1))
    entry = candle.entry(False, 61_500)
    assert [entry[k] for k in ("open", "close", "high", "low", "volume", "turnover")] == [
        "2", "2.1", "2.5", "1.5", "6", "12.2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "limit_s"),
    [(None, 600), ("45s", 45), ("1m", 60), ("600s", 600), ("10m", 600), ("29s", 600), ("11m", 600), ("soon", 600)],
)
def test_how_long_a_connection_may_be_idle(asked: str | None, limit_s: float):
    assert limit_of(asked) == limit_s


def test_the_idle_check_comes_every_thirty_seconds():
    idle = Idle(opened_s=100.0, limit_s=45.0)
    assert [idle.next_check(now) for now in (100.0, 129.9, 130.0)] == [130.0, 130.0, 160.0]
    assert not idle.expired(active_s=100.0, check_s=130.0)
    assert idle.expired(active_s=100.0, check_s=160.0)
    assert not idle.expired(active_s=120.0, check_s=160.0)


def test_deliveries_lie_ahead():
    listed = catalogue(at(2026, 12, 31))
    symbols = [i.symbol for i in listed.of("inverse") if i.dated]
    assert symbols == ["BTCUSDH27", "BTCUSDM27", "ETHUSDH27", "ETHUSDM27"]


def test_a_recording_names_its_endpoint_and_keeps_frames_as_they_were(tmp_path):
    frame = '{"topic": "tickers.A",\t"ts":1}'
    rows = [
        {"t": "connect", "conn": "1", "ts": 1.0, "addr": "wss://x/v5/public/inverse"},
        {"t": "recv", "conn": "1", "ts": 1.5, "data": '{"success":true}'},
        {"t": "recv", "conn": "1", "ts": 2.0, "data": frame},
        {"t": "recv", "conn": "2", "ts": 2.5, "data": frame},
        {"t": "recv", "conn": "1", "ts": 3.0, "data": frame},
    ]
    path = tmp_path / "recording.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    recording = recordings.load(path)
    assert recording.category == "inverse"
    assert [(f.at_s, f.topic, f.text) for f in recording.frames] == [
        (0.0, "tickers.A", frame),
        (1.0, "tickers.A", frame),
    ]


@pytest.mark.parametrize("addr", ["wss://x/v5/private", "wss://x/v5/public/linear"])
def test_a_recording_without_public_frames_is_no_use(addr: str):
    with pytest.raises(UnusableRecording):
        recordings.parse(json.dumps({"t": "connect", "conn": "1", "ts": 1.0, "addr": addr}))


def test_a_file_that_is_no_recording_is_no_use():
    with pytest.raises(UnusableRecording, match="not valid JSON"):
        recordings.parse("time,price\n1,2")


def test_the_shipped_recording_is_whole():
    recording = recordings.shipped()
    assert (recording.category, len(recording.frames)) == ("linear", 2529)


def test_arguments_win_over_the_environment():
    env = {"SIMULATOR_PORT": "15100", "SIMULATOR_KEY": "k", "SIMULATOR_SECRET": "s"}
    settings = Settings.read(["--port", "15200"], env)
    assert (settings.port, settings.key, settings.secret, settings.host) == (15200, "k", "s", "127.0.0.1")


def test_exact_playing_answers_at_once():
    assert Settings.read(["--exact"], {}).latency_s == 0.0


@pytest.mark.parametrize(
    "arguments", [["--port", "0"], ["--speed", "0"], ["--latency", "-1"], ["--recording", "/nowhere"]]
)
def test_bad_settings_end_it_at_once(arguments: list[str], capsys):
    with pytest.raises(SystemExit):
        Settings.read(arguments, {})
    assert arguments[1] in capsys.readouterr().err
