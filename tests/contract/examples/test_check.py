"""What the example concludes from ids, epochs and sequences."""

from examples.consumer import Check
from tests.contract.examples.feed import TOPIC, event


def lost(check: Check, *numbers: int, epoch: str = "01A") -> list[tuple[int, int]]:
    for number in numbers:
        check.is_new(event(number, epoch))
    return [hole[2:] for hole in check.overdue()]


def test_counting_begins_with_the_first_event():
    assert lost(Check(patience_s=0), 17, 18, 19) == []


def test_every_missing_number_is_reported_once():
    check = Check(patience_s=0)
    assert lost(check, 1, 4) == [(2, 3)]
    assert check.overdue() == []


def test_a_hole_is_not_reported_before_it_is_due():
    assert lost(Check(patience_s=3600), 1, 4) == []


def test_repeats_fill_a_hole_wherever_they_fall():
    assert lost(Check(patience_s=0), 1, 9, 2, 5, 8) == [(3, 4), (6, 7)]
    assert lost(Check(patience_s=0), 1, 4, 2, 3) == []


def test_a_later_epoch_begins_with_one():
    check = Check(patience_s=0)
    assert lost(check, 5, 6) == []
    assert lost(check, 1, 2, epoch="01B") == []
    assert lost(check, 3, epoch="01C") == [(1, 2)]


def test_late_events_of_an_earlier_epoch_go_on_counting_there():
    check = Check(patience_s=0)
    lost(check, 5, 6)
    lost(check, 1, epoch="01B")
    assert lost(check, 7, 8) == []
    assert lost(check, 10) == [(9, 9)]
    assert lost(Check(patience_s=0), 1, epoch="01B") == []


def test_an_unknown_earlier_epoch_begins_anywhere():
    check = Check(patience_s=0)
    lost(check, 1, epoch="01B")
    assert lost(check, 77, 78) == []


def test_a_topic_that_was_subscribed_again_begins_anywhere():
    check = Check(patience_s=0)
    lost(check, 1, 2)
    del check.last[TOPIC]
    assert lost(check, 50) == []


def test_an_event_is_new_until_its_work_is_done():
    check = Check()
    assert check.is_new(event(1))
    assert check.is_new(event(1))
    check.remember(event(1))
    assert not check.is_new(event(1))


def test_the_memory_of_ids_and_epochs_is_bounded():
    check = Check(ids=10)
    for number in range(1, 13):
        check.remember(event(number))
    assert [check.is_new(event(number)) for number in (1, 2, 3)] == [True, True, False]
    for number in range(9):
        check.is_new(event(1, epoch=f"02{number}"))
    assert sorted(check.last[TOPIC]) == ["026", "027", "028"]
