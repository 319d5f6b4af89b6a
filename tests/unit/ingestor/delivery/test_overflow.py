"""Events that we dropped ourselves."""

import threading
from collections.abc import Iterable, Mapping
from queue import SimpleQueue

from ingestor.delivery.overflow import Overflow, Spells
from tests.kit.waiting import eventually

BOOK, TRADES = "orderbook.linear.BTCUSDT.50", "trades.linear.BTCUSDT"


def test_a_spell_is_told_at_its_first_drop_and_is_over_some_seconds_after_its_last():
    spells = Spells(since=0.0)
    spells.dropped([BOOK], now=1.0)
    assert spells.to_tell(1.0) == [BOOK]
    spells.told([BOOK])
    spells.dropped([BOOK], now=5.0)
    assert spells.to_tell(5.0) == []
    assert spells.over(9.9) == []
    assert spells.over(10.0) == [BOOK]
    assert spells.over(11.0) == []


def test_who_nobody_holds_is_tried_for_a_minute():
    spells = Spells(since=0.0)
    spells.dropped([BOOK], now=1.0)
    assert spells.to_tell(60.9) == [BOOK]
    assert spells.over(60.9) == []
    assert spells.to_tell(61.0) == []


class Holder:
    """Carries one topic."""

    def __init__(self) -> None:
        self.told: list[tuple[list[str], float]] = []

    def overflowed(self, keys: Iterable[str], since: float) -> set[str]:
        self.told.append((sorted(keys), since))
        return set(keys) - {BOOK}

    def overflow_over(self, keys: Iterable[str]) -> set[str]:
        return set()


def test_the_holder_hears_of_all_that_was_dropped_and_again_of_what_it_did_not_hold():
    holder, stop = Holder(), threading.Event()
    dropped: SimpleQueue[Mapping[str, int]] = SimpleQueue()
    thread = threading.Thread(target=Overflow(dropped, holder, waiting=lambda: 1).run, args=(stop,))
    dropped.put({BOOK: 3})
    dropped.put({TRADES: 1})
    thread.start()
    try:
        eventually(lambda: len(holder.told) >= 2, 5, "it is told twice")
    finally:
        stop.set()
        thread.join(5)
    assert [keys for keys, _ in holder.told[:2]] == [[BOOK, TRADES], [TRADES]]
    assert holder.told[0][1] == holder.told[1][1]
