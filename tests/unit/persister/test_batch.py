"""Deliveries that wait to be written together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from persister.batch import Batch, Pace


@dataclass
class Item:
    name: str
    weight: int = 1


def filled(*items: Item, max_count: int = 3, max_weight: int = 10) -> Batch[Item]:
    batch: Batch[Item] = Batch(Pace(max_count, max_count), max_weight)
    for item in items:
        batch.add(item)
    return batch


def names(items: list[Item]) -> str:
    return "".join(item.name for item in items)


def test_nothing_waiting_gives_nothing() -> None:
    assert filled().take() == []


def test_what_waits_is_taken_however_little_it_is() -> None:
    batch = filled(Item("a"))
    assert names(batch.take()) == "a"
    assert len(batch) == 0


def test_no_more_than_fits_is_taken_and_the_rest_keeps_its_order() -> None:
    batch = filled(*(Item(name) for name in "abcde"))
    assert names(batch.take()) == "abc"
    batch.add(Item("f"))
    assert names(batch.take()) == "def"


def test_heavy_messages_make_smaller_batches() -> None:
    batch = filled(Item("a", 6), Item("b", 4), Item("c", 1), max_count=10)
    assert [names(batch.take()), names(batch.take())] == ["ab", "c"]


def test_one_that_is_too_heavy_goes_alone() -> None:
    batch = filled(Item("a", 99), Item("b", 1))
    assert [names(batch.take()), names(batch.take())] == ["a", "b"]


def test_fewer_are_written_together_after_failures_and_soon_as_many_as_before() -> None:
    pace = Pace(100, 100)
    assert counts(pace, [pace.failed] * 8) == [50, 25, 12, 6, 3, 1, 1, 1]
    assert counts(pace, [partial(pace.took, 0.9)] * 8) == [2, 4, 8, 16, 32, 64, 100, 100]


def test_a_slow_write_is_followed_by_a_smaller_one() -> None:
    pace = Pace(100, 100)
    assert counts(pace, [partial(pace.took, 1.1)] * 2) == [50, 25]


def counts(pace: Pace, acts: Sequence[Callable[[], None]]) -> list[int]:
    found = []
    for act in acts:
        act()
        found.append(pace.count)
    return found
