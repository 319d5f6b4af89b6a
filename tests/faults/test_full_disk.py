"""The spool's disk is full: private events wait, market events are dropped and reported, and all is well afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.events import Dropped, Event
from ingestor import spool_folder
from ingestor.delivery.disk_probe import DiskProbe
from ingestor.delivery.outbox import Lane
from ingestor.delivery.spool import BALLAST_BYTES, Spool
from tests.kit import disks
from tests.kit.disks import small_disk
from tests.kit.waiting import eventually

_ROOM = BALLAST_BYTES + 8 * 2**20
_BODY = b"x" * 50_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, _ROOM) as mounted:
        yield mounted


def event(number: int) -> Event:
    return Event(f"{number:05d}", "trades", "trades.linear.BTCUSDT", _BODY, number)


def fill(lane: Lane) -> int:
    """Offer events until one is not accepted; how many were."""
    for number in range(10_000):
        if not lane.accept([event(number)]):
            return number
    raise AssertionError("the disk never was full")


def test_a_private_lane_waits_and_then_goes_on_without_loss(disk: Path):
    lane = Lane(Spool(disk / "private.db", 2**30, durable=True), durable=True, most_events=10_000, most_bytes=2**30)
    accepted = fill(lane)
    assert accepted > 10
    taken = lane.take(accepted)
    lane.confirmed(taken)
    lane.sweep()  # deleting needs room too: that is what the ballast is for
    assert lane.accept([event(accepted)])
    assert [entry.event.id for entry in [*taken, *lane.take(1)]] == [f"{n:05d}" for n in range(accepted + 1)]


def test_it_is_reported(disk: Path):
    private, market = (Spool(disk / f"{name}.db", 2**30, durable=True) for name in ("private", "market"))
    watch = DiskProbe(disk, private, market)
    assert watch.trouble() is None
    fill(Lane(private, durable=True, most_events=10_000, most_bytes=2**30))
    trouble = eventually(watch.trouble, 5, "it is looked at again")
    assert trouble.reason == "the spool folder is not writable: No space left on device"


def test_a_market_lane_drops_tells_and_goes_on(disk: Path):
    dropped: list[Dropped] = []
    lane = Lane(Spool(disk / "market.db", 2**30, durable=False), durable=False, most_events=0, most_bytes=0)
    lane.on_dropped(dropped.extend)
    number = 0
    while not dropped:
        lane.accept([event(number)])
        number += 1
    taken = lane.take(10_000)
    lane.confirmed(taken)
    lane.sweep()
    lane.accept([event(number)])
    assert [entry.event.id for entry in lane.take(10)] == [f"{number:05d}"]
    counts = lane.counts()
    assert counts.accepted == counts.confirmed + counts.dropped + counts.spooled + counts.in_flight


def private_lane(disk: Path) -> Lane:
    return Lane(Spool(disk / "private.db", 2**30, durable=True), durable=True, most_events=10_000, most_bytes=2**30)


def market_lane(disk: Path) -> Lane:
    return Lane(Spool(disk / "market.db", 2**30, durable=False), durable=False, most_events=10_000, most_bytes=2**30)


def numbers(lane: Lane) -> list[int]:
    return [int(entry.event.id) for entry in lane.take(10_000)]


def test_a_folder_on_a_read_only_disk_is_still_held_by_one_only(disk: Path):
    first = spool_folder.lock(disk)
    assert first is not None
    first.close()
    disks.remount(disk, "ro")
    second = spool_folder.lock(disk)
    assert second is not None
    with pytest.raises(ConfigError, match="another ingestor"):
        spool_folder.lock(disk)
    second.close()


@pytest.mark.parametrize("stopped", ["in good order", "killed"])
def test_a_start_on_a_full_disk_uses_the_room_that_was_kept_for_it(disk: Path, stopped: str):
    first = private_lane(disk)
    assert first.accept([event(1), event(2)])
    if stopped == "in good order":
        first.close()
    disks.fill(disk)
    second = private_lane(disk)
    assert second.failure is None
    assert second.accept([event(3)])
    assert numbers(second) == [1, 2, 3]


def unusable(disk: Path, kind: str) -> Path:
    """A disk that accepts nothing, without a reserve."""
    for ballast in disk.glob("*.ballast"):
        ballast.unlink()
    filler = disks.fill(disk)
    if kind == "read-only":
        filler.unlink()
        disks.remount(disk, "ro")
    return filler


def usable(disk: Path, filler: Path) -> None:
    disks.remount(disk, "rw")
    filler.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_a_start_without_a_spool_takes_market_events_only_until_there_is_one(disk: Path, kind: str):
    filler = unusable(disk, kind)
    private, market = private_lane(disk), market_lane(disk)
    assert private.failure
    assert market.failure
    assert not private.accept([event(1)])
    assert market.accept([event(1)])
    market.confirmed(market.take(1))
    market.sweep()
    assert market.failure, "it is still reported"
    usable(disk, filler)
    for lane in (private, market):
        lane.sweep()
        assert lane.failure is None
        assert lane.accept([event(2)])
        assert numbers(lane) == [2]


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_what_an_earlier_life_left_goes_out_first_once_it_can_be_read(disk: Path, kind: str):
    for lane in (private_lane(disk), market_lane(disk)):
        lane.accept([event(1), event(2)])
        lane.close()
    filler = unusable(disk, kind)
    private, market = private_lane(disk), market_lane(disk)
    if private.failure is None:
        pytest.skip("this disk lets its files be opened all the same")
    market.accept([event(3)])
    usable(disk, filler)
    for lane in (private, market):
        lane.sweep()
        assert lane.accept([event(4)])
    assert numbers(private) == [1, 2, 4]
    assert numbers(market) == [1, 2, 3, 4]
    counts = market.counts()
    assert counts.accepted == counts.confirmed + counts.dropped + counts.spooled + counts.in_flight == 4


def test_a_reserve_that_cannot_be_given_up_is_a_failure_that_is_reported_and_no_more(disk: Path):
    lane = private_lane(disk)
    taken = fill(lane)
    lane.confirmed(lane.take(taken))
    (disk / "private.db.ballast").unlink()
    disks.fill(disk)
    (disk / "private.db.ballast").mkdir()
    lane.sweep()
    assert lane.failure
    (disk / "filler").unlink()
    assert lane.accept([event(taken)])
    assert numbers(lane) == [taken]
