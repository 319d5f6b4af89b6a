"""The spool's disk is full: private events wait, market events are dropped and told, and all is well afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.envelope import Event
from ingestor.delivery.disk import Disk
from ingestor.delivery.outbox import Lane
from ingestor.delivery.spool import BALLAST_BYTES, Spool
from tests.disks import small_disk
from tests.waiting import eventually

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
    lane = Lane(Spool(disk / "private.db", 2**30, durable=True), True, 10_000, 2**30)
    accepted = fill(lane)
    assert accepted > 10
    taken = lane.take(accepted)
    lane.confirmed(taken)
    lane.sweep()  # deleting needs room too: that is what the ballast is for
    assert lane.accept([event(accepted)])
    assert [entry.event.id for entry in [*taken, *lane.take(1)]] == [f"{n:05d}" for n in range(accepted + 1)]


def test_it_is_told(disk: Path):
    private, market = (Spool(disk / f"{name}.db", 2**30, durable=True) for name in ("private", "market"))
    watch = Disk(disk, private, market)
    assert watch.trouble() is None
    fill(Lane(private, True, 10_000, 2**30))
    trouble = eventually(watch.trouble, 5, "it is looked at again")
    assert trouble.reason == "the spool's folder takes nothing: No space left on device"


def test_a_market_lane_drops_tells_and_goes_on(disk: Path):
    told: list[dict[str, int]] = []
    lane = Lane(Spool(disk / "market.db", 2**30, durable=False), False, 0, 0, told.append)
    number = 0
    while not told:
        lane.accept([event(number)])
        number += 1
    taken = lane.take(10_000)
    lane.confirmed(taken)
    lane.sweep()
    lane.accept([event(number)])
    assert [entry.event.id for entry in lane.take(10)] == [f"{number:05d}"]
    counts = lane.counts()
    assert counts.accepted == counts.confirmed + counts.dropped + counts.spooled + counts.in_flight
