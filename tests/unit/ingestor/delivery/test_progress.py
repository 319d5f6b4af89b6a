"""How far each lane's events have come."""

from datetime import UTC, datetime, timedelta

from ingestor.delivery.outbox import LaneCounts
from ingestor.delivery.progress import Progress

START = datetime(2026, 8, 9, 21, 26, 58, tzinfo=UTC)


def counts(confirmed: int, waiting: int) -> dict[str, LaneCounts]:
    return {"market": LaneCounts(confirmed + waiting, confirmed, 0, 0, waiting)}


def observe(*each: tuple[int, int]) -> list[dict[str, object]]:
    """The progress at each of these observations of (confirmed, waiting), a second apart."""
    progress = Progress()
    return [progress.observe(counts(*one), START + timedelta(seconds=n))["market"] for n, one in enumerate(each)]


def at(second: int) -> str:
    return (START + timedelta(seconds=second)).isoformat()


def test_nothing_was_confirmed_yet():
    assert observe((0, 0)) == [{"waiting": 0, "confirmed_at": None, "waits_since": None, "waits_s": 0.0}]


def test_a_count_that_rose_is_a_confirm():
    assert [each["confirmed_at"] for each in observe((0, 1), (1, 0), (1, 0), (3, 0))] == [None, at(1), at(1), at(3)]


def test_confirms_of_other_events_end_the_wait():
    assert [each["waits_since"] for each in observe((0, 5), (2, 5), (4, 5))] == [at(0), None, None]


def test_waiting_begins_when_confirms_stop_and_ends_with_the_next():
    waits_since = [each["waits_since"] for each in observe((4, 1), (4, 2), (4, 9), (5, 8), (5, 8), (13, 0))]
    assert waits_since == [None, at(1), at(1), None, at(4), None]


def test_the_wait_is_measured_by_the_same_clock():
    assert [each["waits_s"] for each in observe((4, 1), (4, 2), (4, 9), (5, 8))] == [0.0, 0.0, 1.0, 0.0]
