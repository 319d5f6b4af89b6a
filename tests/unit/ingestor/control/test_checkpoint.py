"""What one life leaves for the next."""

from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest

from common.channels import of_topic
from ingestor.bybit.states import State
from ingestor.control.checkpoint import Checkpoint, CheckpointWriter, SafePoint, checkpoint_of, read_checkpoint
from ingestor.delivery.outbox import Counts
from ingestor.feed.gaps import Gap
from ingestor.observed import ObservedConnection

TICKER = of_topic("linear", "tickers.BTCUSDT")
WALLET = of_topic("private", "wallet")
SECOND = 1_000_000_000


def counts(accepted: int, confirmed: int) -> Counts:
    return Counts(accepted, confirmed, dropped=0, spooled=0, in_flight=accepted - confirmed)


def seen(endpoint: str, state: State, heard_s: int) -> ObservedConnection:
    heard_at = datetime.fromtimestamp(heard_s, UTC)
    return ObservedConnection(endpoint, 0, state, heard_at, 0, None, None, heard_at)


def test_a_first_start_misses_nothing(tmp_path: Path):
    assert read_checkpoint(tmp_path / "alive.json").missed([TICKER, WALLET]) == []


def test_a_stamp_is_written_when_it_is_over_and_read_by_the_next_life(tmp_path: Path):
    left = Checkpoint({"linear": 5}, (Gap("private", "wallet", "reset", 3, "last"),))
    stop = Event()
    stop.set()
    CheckpointWriter(tmp_path / "alive.json", lambda: left).run(stop)
    assert read_checkpoint(tmp_path / "alive.json") == left


def test_a_stamp_is_written_when_it_is_asked_for(tmp_path: Path):
    left = Checkpoint({"linear": 5})
    CheckpointWriter(tmp_path / "alive.json", lambda: left).write()
    assert read_checkpoint(tmp_path / "alive.json") == left


def test_what_was_held_is_missed_since_the_stamp_and_an_open_window_goes_on():
    window = Gap("private", "wallet", "reset", 3, "last")
    left = Checkpoint({"linear": 5, "private": 7}, (window,))
    spot = of_topic("spot", "tickers.BTCUSDT")
    assert left.missed([TICKER, WALLET, spot]) == [window, Gap("linear", TICKER.topic, "restart", 5, None)]


def test_a_window_that_ended_and_was_not_written_down_is_not_reopened():
    ended = Gap("linear", TICKER.topic, "reset", 3, "last", "first", 4, "no")
    missed = Checkpoint({"linear": 5}, (ended,)).missed([TICKER])
    assert missed == [ended, Gap("linear", TICKER.topic, "restart", 5, None)]


WINDOW = '{"endpoint":"linear","topic":TOPIC,"cause":"c","last_id":null,"opened_ns":OPENED}'


def windows(topic: str, opened: str) -> str:
    window = WINDOW.replace("TOPIC", topic).replace("OPENED", opened)
    return '{"well_ns": {}, "windows": [WINDOW]}'.replace("WINDOW", window)


NO_STAMPS = (
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


@pytest.mark.parametrize("text", NO_STAMPS)
def test_of_a_stamp_that_makes_no_sense_the_age_is_taken(tmp_path: Path, text: str):
    path = tmp_path / "alive.json"
    path.write_text(text)
    [gap] = read_checkpoint(path).missed([TICKER])
    assert gap.opened_ns == path.stat().st_mtime_ns


def test_only_live_sockets_are_well_and_the_one_that_was_heard_least_recently_counts():
    sockets = [seen("linear", State.LIVE, 50), seen("linear", State.LIVE, 40), seen("spot", State.BACKOFF, 50)]
    assert checkpoint_of(sockets, 99 * SECOND, []).well_ns == {"linear": 40 * SECOND}


def test_market_events_are_safe_once_they_are_confirmed_and_private_ones_once_they_are_read():
    sockets = [seen("linear", State.LIVE, 50), seen("private", State.LIVE, 50)]
    assert checkpoint_of(sockets, 30 * SECOND, []).well_ns == {"linear": 30 * SECOND, "private": 50 * SECOND}


def test_it_is_safe_until_the_moment_before_the_oldest_event_without_a_confirm():
    safe = SafePoint(accepted=100, now_ns=0)
    assert safe.until_ns(counts(accepted=110, confirmed=0), True, 1) == 0
    assert safe.until_ns(counts(accepted=130, confirmed=109), True, 2) == 0
    assert safe.until_ns(counts(accepted=140, confirmed=110), True, 3) == 1
    assert safe.until_ns(counts(accepted=140, confirmed=140), True, 4) == 4


def test_what_waits_for_an_absent_broker_is_on_disk():
    safe = SafePoint(accepted=0, now_ns=0)
    safe.until_ns(counts(10, 0), False, SECOND)
    assert safe.until_ns(counts(20, 0), False, 2 * SECOND) == 0
    assert safe.until_ns(counts(30, 0), False, 3 * SECOND) == SECOND
