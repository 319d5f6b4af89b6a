"""Only what changed is written."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from common.channels import of_topic
from ingestor.control.topic_reports import COUNTERS_PER_S, MAX_CHANGES, Changes, Key, TopicReports
from ingestor.observed import ObservedTopic

AT_ONCE: dict[str, Any] = {"state": "rejected", "reason": "no such topic", "acked_at": datetime.now(UTC)}


def held(number: int, state: str = "live", events: int = 0) -> dict[Key, ObservedTopic]:
    channel = of_topic("linear", "tickers.BTCUSDT")
    return {("linear", str(n)): ObservedTopic(channel, state, None, None, None, events) for n in range(number)}


def write(reports: TopicReports, observed: dict[Key, ObservedTopic], now: float) -> Changes:
    changes = reports.changes(observed, now)
    reports.written(changes, now)
    return changes


def test_an_unchanged_topic_is_written_once():
    reports, observed = TopicReports(), held(3)
    assert write(reports, observed, 1.0).written == observed
    assert write(reports, observed, 2.0) == Changes()


@pytest.mark.parametrize("name", AT_ONCE)
def test_a_change_of_state_is_written_at_once(name: str):
    reports, observed = TopicReports(), held(3)
    write(reports, observed, 1.0)
    observed["linear", "1"] = replace(observed["linear", "1"], **{name: AT_ONCE[name]})
    assert list(write(reports, observed, 1.0).written) == [("linear", "1")]


def test_it_is_decided_for_every_field_whether_its_change_is_written_at_once():
    counters = {"events", "last_event_at"}
    assert AT_ONCE.keys() | counters == {field.name for field in fields(ObservedTopic)} - {"channel"}


def test_a_topic_that_left_is_removed_once():
    reports = TopicReports()
    write(reports, held(3), 1.0)
    assert write(reports, held(2), 2.0).gone == (("linear", "2"),)
    assert write(reports, held(2), 3.0).gone == ()


def test_many_changes_are_written_in_batches():
    reports, observed = TopicReports(), held(2 * MAX_CHANGES + 1)
    batches = [write(reports, observed, 1.0) for _ in range(3)]
    assert [(len(batch.written), batch.more) for batch in batches] == [
        (MAX_CHANGES, True),
        (MAX_CHANGES, True),
        (1, False),
    ]


def test_counters_are_written_some_each_second_until_all_have_had_their_turn():
    reports, number = TopicReports(), int(2 * COUNTERS_PER_S) + 1
    for _ in range(2):
        write(reports, held(number), 1.0)
    written: list[Key] = []
    for second in (2, 3, 4):
        batch = write(reports, held(number, events=second), float(second)).written
        assert len(batch) == COUNTERS_PER_S
        written += batch
    assert set(written) == held(number).keys()


def test_counters_written_a_moment_ago_wait():
    reports = TopicReports()
    write(reports, held(3), 1.0)
    assert write(reports, held(3, events=7), 1.0).written == {}
    assert len(write(reports, held(3, events=7), 2.0).written) == 3


def test_a_failed_write_is_tried_again():
    reports, observed = TopicReports(), held(3)
    reports.changes(observed, 1.0)
    assert reports.changes(observed, 2.0).written == observed


def test_after_a_doubt_everything_is_written_and_what_left_meanwhile_is_removed():
    reports = TopicReports()
    write(reports, held(3), 1.0)
    reports.doubt()
    changes = write(reports, held(2), 2.0)
    assert (changes.written, changes.gone) == (held(2), (("linear", "2"),))
