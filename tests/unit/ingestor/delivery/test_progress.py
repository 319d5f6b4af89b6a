"""How far each lane's events have come."""

from datetime import UTC, datetime, timedelta

from ingestor.delivery.outbox import Counts
from ingestor.delivery.progress import Progress

START = datetime(2026, 8, 9, 21, 26, 58, tzinfo=UTC)


def counts(confirmed: int, waiting: int) -> dict[str, Counts]:
    return {"market": Counts(confirmed + waiting, confirmed, 0, 0, waiting)}


def looks(*each: tuple[int, int]) -> list[dict[str, object]]:
    """What is told at each of these looks, a second apart, of (confirmed, waiting)."""
    progress = Progress()
    return [progress.seen(counts(*one), START + timedelta(seconds=n))["market"] for n, one in enumerate(each)]


def at(second: int) -> str:
    return (START + timedelta(seconds=second)).isoformat()


def test_nothing_was_confirmed_yet():
    assert looks((0, 0)) == [{"waiting": 0, "confirmed_at": None, "waits_since": None, "waits_s": 0.0}]


def test_a_count_that_rose_is_a_confirm_that_came():
    assert [told["confirmed_at"] for told in looks((0, 1), (1, 0), (1, 0), (3, 0))] == [None, at(1), at(1), at(3)]


def test_what_waits_while_others_are_confirmed_does_not_wait_long():
    assert [told["waits_since"] for told in looks((0, 5), (2, 5), (4, 5))] == [at(0), None, None]


def test_waiting_begins_when_confirms_stop_and_ends_with_the_next():
    told = [each["waits_since"] for each in looks((4, 1), (4, 2), (4, 9), (5, 8), (5, 8), (13, 0))]
    assert told == [None, at(1), at(1), None, at(4), None]


def test_how_long_it_waits_is_told_by_the_same_clock():
    assert [each["waits_s"] for each in looks((4, 1), (4, 2), (4, 9), (5, 8))] == [0.0, 0.0, 1.0, 0.0]
