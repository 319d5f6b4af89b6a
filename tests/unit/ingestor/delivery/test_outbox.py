"""An event between its connection to the exchange and the broker's confirm."""

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.events import Dropped, Event
from ingestor.delivery.outbox import Entry, Lane, Outbox
from ingestor.delivery.spool import Spool, SpoolFailure, Stored


def event(number: int, kind: str = "trades", size: int = 10, stamp: int = 0) -> Event:
    return Event(f"{number:04d}", kind, f"{kind}.linear.BTCUSDT", b"x" * size, stamp)


def events(*numbers: int) -> list[Event]:
    return [event(number) for number in numbers]


def spool(folder: Path, most_bytes: int = 2**20, durable: bool = False) -> Spool:
    return Spool(folder / "lane.db", most_bytes, durable=durable)


def lane(folder: Path, durable: bool = False, most_events: int = 3, **more: object) -> Lane:
    return Lane(spool(folder, durable=durable), durable=durable, most_events=most_events, most_bytes=10_000, **more)


def numbers(entries: list[Entry]) -> list[int]:
    return [int(entry.event.id) for entry in entries]


def failed(it: Lane) -> bool:
    return it.failure is not None


def balanced(it: Lane) -> bool:
    counts = it.counts()
    return counts.accepted == counts.confirmed + counts.dropped + counts.spooled + counts.in_flight


def test_events_beyond_memory_wait_on_disk_and_keep_their_sequence(tmp_path: Path):
    mine = lane(tmp_path)
    for number in range(1, 8):
        mine.accept(events(number))
    assert (mine.counts().in_flight, mine.counts().spooled) == (3, 4)
    assert numbers(mine.take(100)) == [1, 2, 3, 4, 5, 6, 7]


def test_unconfirmed_events_are_taken_first_again(tmp_path: Path):
    mine = lane(tmp_path, most_events=10)
    mine.accept(events(1, 2, 3))
    taken = mine.take(2)
    mine.returned(taken)
    assert numbers(mine.take(10)) == [1, 2, 3]


def test_spilled_events_survive_a_restart_and_confirmed_ones_are_not_sent_again(tmp_path: Path):
    first = lane(tmp_path, most_events=10)
    first.accept(events(1, 2, 3))
    first.confirmed(first.take(1))
    first.close()
    second = lane(tmp_path, most_events=10)
    second.accept(events(4))
    assert numbers(second.take(10)) == [2, 3, 4]


def test_a_durable_lane_has_an_event_on_disk_before_it_accepts_it(tmp_path: Path):
    mine = lane(tmp_path, durable=True)
    assert mine.accept(events(1))
    assert [row.position for row in spool(tmp_path).read(1, 10)] == [1]


def test_a_full_durable_lane_refuses_and_loses_nothing(tmp_path: Path):
    mine = Lane(spool(tmp_path, most_bytes=25, durable=True), durable=True, most_events=10, most_bytes=10_000)
    assert [mine.accept([each]) for each in events(1, 2, 3)] == [True, True, False]
    mine.confirmed(mine.take(1))
    mine.sweep()
    assert mine.accept(events(3))
    assert numbers(mine.take(10)) == [2, 3]


def test_a_full_market_lane_drops_the_oldest_events_of_the_least_important_class_and_reports_them(tmp_path: Path):
    dropped: list[Dropped] = []
    mine = Lane(spool(tmp_path, most_bytes=40), durable=False, most_events=0, most_bytes=0)
    mine.on_dropped(dropped.extend)
    mine.accept([event(1), event(2, "orderbook", stamp=9), event(3, "orderbook", stamp=7), event(4)])
    mine.accept([event(5)])
    assert dropped == [Dropped("orderbook.linear.BTCUSDT", 2, 7)]
    assert balanced(mine)
    assert numbers(mine.take(10)) == [1, 4, 5]


def test_events_that_are_too_old_are_dropped_and_reported(tmp_path: Path):
    dropped: list[Dropped] = []
    mine = Lane(spool(tmp_path), durable=False, most_events=0, most_bytes=0)
    mine.on_dropped(dropped.extend)
    mine.accept([event(1, stamp=100), event(2, stamp=200)])
    mine.sweep(oldest_s=150)
    assert dropped == [Dropped("trades.linear.BTCUSDT", 1, 100)]
    assert numbers(mine.take(10)) == [2]
    assert balanced(mine)


def test_a_failing_disk_costs_market_events_and_stops_private_ones(tmp_path: Path):
    class Broken(Spool):
        def append(self, rows: object) -> None:
            raise SpoolFailure("read-only")

    dropped: list[Dropped] = []
    market = Lane(
        Broken(tmp_path / "m.db", 2**20, durable=False),
        durable=False,
        most_events=0,
        most_bytes=0,
    )
    market.on_dropped(dropped.extend)
    private = Lane(Broken(tmp_path / "p.db", 2**20, durable=True), durable=True, most_events=10, most_bytes=10_000)
    assert market.accept([event(1, stamp=5)])
    assert dropped == [Dropped("trades.linear.BTCUSDT", 1, 5)]
    assert not private.accept(events(1))
    assert balanced(market)
    assert balanced(private)


def test_a_failure_of_the_disk_is_forgotten_once_memory_suffices(tmp_path: Path):
    class Broken(Spool):
        def append(self, rows: object) -> None:
            raise SpoolFailure("malformed")

    market = Lane(Broken(tmp_path / "m.db", 2**20, durable=False), durable=False, most_events=10, most_bytes=10_000)
    market.accept(events(1))
    market.spill()  # the broker is unavailable
    assert market.failure == "malformed"
    market.confirmed(market.take(1))
    assert market.failure is None


def test_a_corrupt_file_is_renamed_and_the_lane_continues(tmp_path: Path):
    first = lane(tmp_path)
    first.accept(events(*range(100)))
    first.close()
    file = tmp_path / "lane.db"
    file.write_bytes(b"no database at all" * 100)
    second = lane(tmp_path, most_events=10)
    assert second.accept(events(7))
    assert numbers(second.take(10)) == [7]
    assert list(tmp_path.glob("lane.db.corrupt-*"))


def test_a_folder_that_cannot_be_written_is_reported_and_used_once_it_can(tmp_path: Path):
    (tmp_path / "folder").write_text("in the way")
    mine = Lane(
        Spool(tmp_path / "folder" / "lane.db", 2**20, durable=True), durable=True, most_events=10, most_bytes=10_000
    )
    assert failed(mine)
    assert not mine.accept(events(1))
    mine.sweep()
    assert failed(mine)
    (tmp_path / "folder").unlink()
    mine.sweep()
    assert not failed(mine)
    assert mine.accept(events(1))


class UnreliableSpool(Spool):
    """Fails at the operations that the test names."""

    failing: frozenset[str] = frozenset({"open"})

    def open(self) -> None:
        self._check("open")
        super().open()

    def append(self, rows: Sequence[Stored]) -> None:
        self._check("append")
        super().append(rows)

    def read(self, from_position: int, most: int) -> list[Stored]:
        self._check("read")
        return super().read(from_position, most)

    def remove(self, rows: Iterable[Stored]) -> None:
        self._check("remove")
        super().remove(rows)

    def drop_older(self, than_s: float, above: int) -> list[Dropped]:
        self._check("drop")
        return super().drop_older(than_s, above)

    def _check(self, operation: str) -> None:
        if operation in self.failing:
            self.closed_because = operation
            raise SpoolFailure(operation)


def unreliable(folder: Path, most_events: int) -> tuple[UnreliableSpool, Lane]:
    """A lane whose spool could not be opened, and can from now on."""
    spool = UnreliableSpool(folder / "lane.db", 2**20, durable=False)
    it = Lane(spool, durable=False, most_events=most_events, most_bytes=10_000)
    spool.failing = frozenset()
    return spool, it


def test_events_of_an_earlier_run_come_first_once_the_disk_can_be_used(tmp_path: Path):
    first = lane(tmp_path, most_events=10)
    first.accept(events(1, 2))
    first.close()
    _, second = unreliable(tmp_path, most_events=10)
    second.accept(events(3))
    second.sweep()
    assert not failed(second)
    assert balanced(second)
    assert numbers(second.take(10)) == [1, 2, 3]


def test_a_disk_that_opens_and_cannot_be_written_stays_closed(tmp_path: Path):
    first = lane(tmp_path, most_events=10)
    first.accept(events(1, 2))
    first.close()
    spool, second = unreliable(tmp_path, most_events=10)
    second.accept(events(3))
    spool.failing = frozenset({"append"})
    second.sweep()
    assert second.failure == "append"
    assert numbers(second.take(10)) == [3]
    spool.failing = frozenset()
    second.sweep()
    assert numbers(second.take(10)) == [1, 2]


def test_a_disk_that_cannot_be_read_delays_its_events(tmp_path: Path):
    spool, it = unreliable(tmp_path, most_events=1)
    it.sweep()
    for number in (1, 2):
        it.accept(events(number))
    spool.failing = frozenset({"read"})
    assert numbers(it.take(10)) == [1]
    assert it.failure == "read"
    spool.failing = frozenset()
    assert numbers(it.take(10)) == [2]
    assert balanced(it)


@pytest.mark.parametrize("operation", ["remove", "drop"])
def test_a_disk_that_cannot_delete_is_reported(tmp_path: Path, operation: str):
    spool, it = unreliable(tmp_path, most_events=1)
    it.sweep()
    for number in (1, 2):
        it.accept(events(number))
    it.spill()
    it.confirmed(it.take(1))
    it.accept(events(3))
    spool.failing = frozenset({operation})
    it.sweep(oldest_s=1.0)
    assert it.failure == operation
    assert balanced(it)


def test_events_that_vanished_from_the_disk_are_counted_as_dropped(tmp_path: Path):
    class Emptied(Spool):
        def read(self, from_position: int, most: int) -> list[Stored]:
            return []

    it = Lane(Emptied(tmp_path / "m.db", 2**20, durable=False), durable=False, most_events=0, most_bytes=0)
    it.accept(events(1, 2))
    assert it.take(10) == []
    assert it.counts().dropped == 2
    assert balanced(it)


def test_the_two_lanes_are_separate(tmp_path: Path):
    private = Lane(spool(tmp_path), durable=True, most_events=3, most_bytes=10_000)
    market = Lane(Spool(tmp_path / "m.db", 2**20, durable=False), durable=False, most_events=3, most_bytes=10_000)
    outbox = Outbox(private, market)
    assert outbox.put(events(1), private=True)
    assert outbox.put(events(2), private=False)
    assert (numbers(private.take(9)), numbers(market.take(9))) == ([1], [2])


class LaneMachine(RuleBasedStateMachine):
    """A lane against a plain queue: whatever happens, nothing is lost and the sequence is kept."""

    @initialize(durable=st.booleans())
    def open(self, durable: bool) -> None:
        self.folder = TemporaryDirectory()
        self.durable = durable
        self.lane = lane(Path(self.folder.name), durable, most_events=4)
        self.model: deque[int] = deque()
        self.out: list[Entry] = []
        self.number = 0

    @rule(count=st.integers(1, 4))
    def accept(self, count: int) -> None:
        fresh = list(range(self.number, self.number + count))
        self.number += count
        assert self.lane.accept(events(*fresh))
        self.model.extend(fresh)

    @rule(most=st.integers(1, 6))
    def take(self, most: int) -> None:
        taken = self.lane.take(most)
        expected = [self.model.popleft() for _ in range(len(taken))]
        assert numbers(taken) == expected
        assert taken or not self.model
        self.out += taken

    @rule(count=st.integers(1, 6))
    def confirm(self, count: int) -> None:
        done, self.out = self.out[:count], self.out[count:]
        self.lane.confirmed(done)

    @rule()
    def lose_connection(self) -> None:
        self.lane.returned(self.out)
        self.model.extendleft(reversed(numbers(self.out)))
        self.out = []

    @rule()
    def spill(self) -> None:
        self.lane.spill()

    @rule()
    def sweep(self) -> None:
        self.lane.sweep()

    @rule()
    def restart(self) -> None:
        self.lose_connection()
        self.lane.close()
        self.lane = lane(Path(self.folder.name), self.durable, most_events=4)

    @invariant()
    def counters_are_balanced(self) -> None:
        assert balanced(self.lane)

    def teardown(self) -> None:
        self.lane.close()
        self.folder.cleanup()


TestLane = LaneMachine.TestCase
TestLane.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
