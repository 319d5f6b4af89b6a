"""Messages between their publish and their confirm."""

from common.events import Event
from ingestor.delivery.outbox import Entry
from ingestor.delivery.unconfirmed import ConfirmDeadline, Unconfirmed, Unroutable


def published(*items: str) -> Unconfirmed[str]:
    unconfirmed: Unconfirmed[str] = Unconfirmed()
    for item in items:
        unconfirmed.published(item)
    return unconfirmed


def entry(number: int) -> Entry:
    return Entry(number, Event(f"id-{number}", "trades", "trades.linear.BTCUSDT", b"{}", number), stored=False)


def test_single_confirms_arrive_in_any_sequence():
    unconfirmed = published("a", "b", "c")
    assert [list(unconfirmed.confirmed(tag, multiple=False)) for tag in (3, 1, 1)] == [["c"], ["a"], []]
    assert len(unconfirmed) == 1


def test_a_multiple_confirm_covers_all_up_to_its_tag():
    unconfirmed = published("a", "b", "c", "d")
    list(unconfirmed.confirmed(2, multiple=False))
    assert list(unconfirmed.confirmed(3, multiple=True)) == ["a", "c"]


def test_an_unknown_tag_confirms_nothing():
    assert list(published("a").confirmed(9, multiple=False)) == []


def test_the_oldest_is_the_first_that_was_not_confirmed():
    unconfirmed = published("a", "b", "c")
    list(unconfirmed.confirmed(1, multiple=False))
    assert unconfirmed.oldest() == "b"
    list(unconfirmed.confirmed(3, multiple=True))
    assert unconfirmed.oldest() is None


def test_drained_messages_keep_their_sequence_and_tags_start_again():
    unconfirmed = published("a", "b", "c")
    list(unconfirmed.confirmed(2, multiple=False))
    assert unconfirmed.drain() == ["a", "c"]
    assert len(unconfirmed) == 0
    unconfirmed.published("x")
    assert list(unconfirmed.confirmed(1, multiple=False)) == ["x"]


def test_a_returned_event_is_kept_when_its_confirm_arrives():
    unroutable, entries = Unroutable(), [entry(1), entry(2), entry(3)]
    unroutable.returned("id-2")
    assert unroutable.separate(entries) == [entries[0], entries[2]]
    assert unroutable.drain() == [entries[1]]
    assert unroutable.separate(entries) == entries, "once drained it may be confirmed"
    assert unroutable.drain() == []


def test_the_deadline_belongs_to_the_oldest_message():
    deadline = ConfirmDeadline(within_s=10.0)
    assert not deadline.missed("a", now=1.0)
    assert not deadline.missed("a", now=11.0)
    assert deadline.missed("a", now=11.1)
    assert not deadline.missed("b", now=11.2), "another one has its own ten seconds"
    assert deadline.missed("b", now=21.3)
    assert not deadline.missed(None, now=99.0)
