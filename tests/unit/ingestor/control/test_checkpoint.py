"""What one run leaves for the next."""

from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest
from structlog.testing import capture_logs

from common.channels import of_topic
from ingestor.bybit.states import State
from ingestor.control.checkpoint import Checkpoint, CheckpointWriter, SafePoint, checkpoint_of, read_checkpoint
from ingestor.control.state_file import StateFile
from ingestor.delivery.outbox import LaneCounts
from ingestor.feed.gaps import Gap
from ingestor.observed import ObservedConnection

TICKER = of_topic("linear", "tickers.BTCUSDT")
WALLET = of_topic("private", "wallet")
SECOND = 1_000_000_000


def counts(accepted: int, confirmed: int) -> LaneCounts:
    return LaneCounts(accepted, confirmed, dropped=0, spooled=0, in_flight=accepted - confirmed)


def observed(endpoint: str, state: State, heard_s: int) -> ObservedConnection:
    heard_at = datetime.fromtimestamp(heard_s, UTC)
    return ObservedConnection(endpoint, 0, state, heard_at, 0, None, None, heard_at)


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "checkpoint.json", former=tmp_path / "alive.json")


def test_a_first_start_misses_nothing(file: StateFile):
    assert read_checkpoint(file).missed([TICKER, WALLET]) == []


def test_a_checkpoint_is_written_at_the_stop_and_read_by_the_next_run(file: StateFile):
    left = Checkpoint({"linear": 5}, (Gap("private", "wallet", "reset", 3, "last"),))
    stop = Event()
    stop.set()
    CheckpointWriter(file, lambda: left).run(stop)
    assert read_checkpoint(file) == left


def test_a_checkpoint_is_written_on_request(file: StateFile):
    left = Checkpoint({"linear": 5})
    CheckpointWriter(file, lambda: left).write()
    assert read_checkpoint(file) == left


def test_an_update_loses_no_checkpoint(file: StateFile):
    assert file.former is not None
    file.former.write_text('{"well_ns":{"linear":5},"windows":[]}')  # as the earlier release wrote it
    assert read_checkpoint(file) == Checkpoint({"linear": 5})
    CheckpointWriter(file, lambda: Checkpoint({"linear": 6})).write()
    assert not file.former.exists()
    assert read_checkpoint(file) == Checkpoint({"linear": 6})


def test_a_disk_that_fails_is_logged_once_until_it_recovers(file: StateFile):
    writer = CheckpointWriter(file, Checkpoint)
    in_the_way = file.path.with_suffix(".new")
    logged: list[int] = []
    for blocked in (True, True, False, True):
        if blocked:
            in_the_way.mkdir(exist_ok=True)
        else:
            in_the_way.rmdir()
        with capture_logs() as events:
            writer.write()
        logged.append(len(events))
    assert logged == [1, 0, 0, 1]


def test_held_topics_are_missed_since_the_checkpoint_and_an_open_gap_stays_open():
    window = Gap("private", "wallet", "reset", 3, "last")
    left = Checkpoint({"linear": 5, "private": 7}, (window,))
    spot = of_topic("spot", "tickers.BTCUSDT")
    assert left.missed([TICKER, WALLET, spot]) == [window, Gap("linear", TICKER.topic, "restart", 5, None)]


def test_a_closed_gap_that_was_not_stored_stays_closed():
    ended = Gap("linear", TICKER.topic, "reset", 3, "last", "first", 4, "no")
    missed = Checkpoint({"linear": 5}, (ended,)).missed([TICKER])
    assert missed == [ended, Gap("linear", TICKER.topic, "restart", 5, None)]


WINDOW = '{"endpoint":"linear","topic":TOPIC,"cause":"c","last_id":null,"opened_ns":OPENED}'


def windows(topic: str, opened: str) -> str:
    window = WINDOW.replace("TOPIC", topic).replace("OPENED", opened)
    return '{"well_ns": {}, "windows": [WINDOW]}'.replace("WINDOW", window)


NOT_VALID = (
    "",
    "[]",
    "{}",
    "[" * 100_000,
    '{"well_ns": 1, "windows": []}',
    '{"well_ns": {}, "windows": [{}]}',
    '{"well_ns": {"linear": "then"}, "windows": []}',
    '{"well_ns": {"linear": 1e30}, "windows": []}',
    '{"well_ns": {"linear": -1}, "windows": []}',
    windows('"t"', "1e30"),
    windows('"t"', '"then"'),
    windows("7", "5"),
)


@pytest.mark.parametrize("text", NOT_VALID)
def test_of_a_checkpoint_that_is_not_valid_the_age_is_used(file: StateFile, text: str):
    file.path.write_text(text)
    [gap] = read_checkpoint(file).missed([TICKER])
    assert gap.opened_ns == file.path.stat().st_mtime_ns


def test_only_live_connections_count_and_of_these_the_one_whose_last_frame_is_oldest():
    sockets = [
        observed("linear", State.LIVE, 50),
        observed("linear", State.LIVE, 40),
        observed("spot", State.BACKOFF, 50),
    ]
    assert checkpoint_of(sockets, 99 * SECOND, []).well_ns == {"linear": 40 * SECOND}


def test_market_events_are_safe_once_they_are_confirmed_and_private_ones_once_they_are_read():
    sockets = [observed("linear", State.LIVE, 50), observed("private", State.LIVE, 50)]
    assert checkpoint_of(sockets, 30 * SECOND, []).well_ns == {"linear": 30 * SECOND, "private": 50 * SECOND}


def test_it_is_safe_until_the_moment_before_the_oldest_event_without_a_confirm():
    safe = SafePoint(accepted=100, now_ns=0)
    assert safe.until_ns(counts(accepted=110, confirmed=0), 1, connected=True) == 0
    assert safe.until_ns(counts(accepted=130, confirmed=109), 2, connected=True) == 0
    assert safe.until_ns(counts(accepted=140, confirmed=110), 3, connected=True) == 1
    assert safe.until_ns(counts(accepted=140, confirmed=140), 4, connected=True) == 4


def test_what_waits_for_an_absent_broker_is_on_disk():
    safe = SafePoint(accepted=0, now_ns=0)
    safe.until_ns(counts(10, 0), SECOND, connected=False)
    assert safe.until_ns(counts(20, 0), 2 * SECOND, connected=False) == 0
    assert safe.until_ns(counts(30, 0), 3 * SECOND, connected=False) == SECOND
