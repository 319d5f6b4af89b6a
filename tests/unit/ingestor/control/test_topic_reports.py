"""Only what changed is written."""

from dataclasses import replace

from common.channels import of_topic
from ingestor.control.topic_reports import CHANGES_AT_ONCE, COUNTERS_PER_S, Changes, Key, TopicReports
from ingestor.observed import ObservedTopic


def held(number: int, state: str = "live", events: int = 0) -> dict[Key, ObservedTopic]:
    channel = of_topic("linear", "tickers.BTCUSDT")
    return {("linear", str(n)): ObservedTopic(channel, state, None, None, None, events) for n in range(number)}


def write(reports: TopicReports, seen: dict[Key, ObservedTopic], now: float) -> Changes:
    changes = reports.changes(seen, now)
    reports.written(changes, now)
    return changes


def test_what_was_written_is_written_once():
    reports, seen = TopicReports(), held(3)
    assert write(reports, seen, 1.0).written == seen
    assert write(reports, seen, 2.0) == Changes()


def test_a_change_of_state_is_written_at_once():
    reports, seen = TopicReports(), held(3)
    write(reports, seen, 1.0)
    seen["linear", "1"] = replace(seen["linear", "1"], state="rejected", reason="no such topic")
    assert list(write(reports, seen, 1.0).written) == [("linear", "1")]


def test_a_topic_that_left_is_removed_once():
    reports = TopicReports()
    write(reports, held(3), 1.0)
    assert write(reports, held(2), 2.0).gone == (("linear", "2"),)
    assert write(reports, held(2), 3.0).gone == ()


def test_many_changes_are_written_in_pieces():
    reports, seen = TopicReports(), held(2 * CHANGES_AT_ONCE + 1)
    pieces = [write(reports, seen, 1.0) for _ in range(3)]
    assert [(len(piece.written), piece.more) for piece in pieces] == [
        (CHANGES_AT_ONCE, True),
        (CHANGES_AT_ONCE, True),
        (1, False),
    ]


def test_counters_are_written_some_each_second_until_all_have_had_their_turn():
    reports, number = TopicReports(), int(2 * COUNTERS_PER_S) + 1
    for _ in range(2):
        write(reports, held(number), 1.0)
    written: list[Key] = []
    for second in (2, 3, 4):
        piece = write(reports, held(number, events=second), float(second)).written
        assert len(piece) == COUNTERS_PER_S
        written += piece
    assert set(written) == held(number).keys()


def test_counters_of_a_moment_ago_wait():
    reports = TopicReports()
    write(reports, held(3), 1.0)
    assert write(reports, held(3, events=7), 1.0).written == {}
    assert len(write(reports, held(3, events=7), 2.0).written) == 3


def test_what_could_not_be_written_is_tried_again():
    reports, seen = TopicReports(), held(3)
    reports.changes(seen, 1.0)
    assert reports.changes(seen, 2.0).written == seen


def test_after_a_doubt_everything_is_written_and_what_left_meanwhile_is_removed():
    reports = TopicReports()
    write(reports, held(3), 1.0)
    reports.doubt()
    changes = write(reports, held(2), 2.0)
    assert (changes.written, changes.gone) == (held(2), (("linear", "2"),))
