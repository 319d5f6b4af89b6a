"""Several connections to the broker, reported as one."""

from datetime import UTC, datetime, timedelta

from ingestor.delivery.broker_link import Link, worst

START = datetime(2026, 8, 9, 21, 26, 58, tzinfo=UTC)


def link(connected: bool, second: int) -> Link:
    return Link(connected=connected, since=START + timedelta(seconds=second), reason=str(second))


def test_all_are_connected_since_the_last_one_is():
    assert worst([link(True, 5), link(True, 9), link(True, 7)]) == link(True, 9)


def test_one_that_is_not_connected_counts_since_the_first_failure():
    assert worst([link(True, 9), link(False, 7), link(False, 3)]) == link(False, 3)
