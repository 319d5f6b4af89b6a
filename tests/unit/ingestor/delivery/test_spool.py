"""Events on disk."""

from pathlib import Path
from typing import Any, cast

import pytest

from common.channels import CHANNEL_TYPES, PRIVATE_CLASSES
from common.events import Dropped, Event
from ingestor.delivery.spool import BALLAST_BYTES, DROPPED_FIRST, Spool, SpoolFailure, Stored


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "lane.db", 2**20, durable=False)


def row(position: int, event_class: str = "trades", body: bytes = b"0123456789") -> Stored:
    return Stored(position, Event(f"id-{position}", event_class, f"{event_class}.linear.BTCUSDT", body, position))


def positions(spool: Spool) -> list[int]:
    return [each.position for each in spool.read(0, 100)]


def test_rows_are_read_in_sequence_from_a_position_on(spool: Spool):
    spool.append([row(3), row(1), row(2)])
    assert spool.read(2, 100) == [row(2), row(3)]
    assert spool.read(0, 2) == [row(1), row(2)]


def test_a_failed_append_stores_none_of_its_rows(spool: Spool):
    without_body = row(2, body=cast(Any, None))
    with pytest.raises(SpoolFailure):
        spool.append([row(1), without_body])
    assert positions(spool) == []
    assert spool.count == 0
    spool.append([row(1)])
    assert positions(spool) == [1]


def test_a_closed_spool_accepts_nothing(spool: Spool):
    spool.close()
    with pytest.raises(SpoolFailure):
        spool.append([row(1)])


def test_it_has_room_up_to_its_limit(spool: Spool):
    spool.append([row(1)])
    assert spool.has_room(2**20 - 10)
    assert not spool.has_room(2**20 - 9)


def test_the_next_run_continues_behind_the_last_position(spool: Spool, tmp_path: Path):
    spool.append([row(5), row(7)])
    spool.close()
    again = Spool(tmp_path / "lane.db", 2**20, durable=False)
    assert (again.count, again.bytes, again.last_position) == (2, 20, 7)


def test_every_public_channel_type_has_its_place_among_those_that_are_dropped():
    assert len(DROPPED_FIRST) == len(set(DROPPED_FIRST))
    assert set(DROPPED_FIRST) == set(CHANNEL_TYPES) - set(PRIVATE_CLASSES)


def test_gap_events_are_never_too_old(spool: Spool):
    spool.append([row(1), row(2, "gap"), row(3), row(9)])
    assert spool.drop_older(than_s=5, above=1) == [Dropped("trades.linear.BTCUSDT", 1, 3)]
    assert positions(spool) == [1, 2, 9]
    assert (spool.count, spool.bytes) == (3, 30)


def test_reserved_room_is_kept_and_made_again_once_the_spool_is_empty(spool: Spool, tmp_path: Path):
    ballast = tmp_path / "lane.db.ballast"
    assert ballast.stat().st_size == BALLAST_BYTES
    ballast.unlink()
    spool.append([row(1), row(2)])
    spool.remove([row(1)])
    assert not ballast.exists()
    spool.remove([row(2)])
    assert ballast.exists()


class FullDisk(Spool):
    """Cannot delete while the reserved room is taken."""

    def _delete(self, rows: list[Stored]) -> None:
        if self._ballast.exists():
            raise SpoolFailure("disk full")
        super()._delete(rows)


def test_on_a_full_disk_the_reserved_room_is_released_to_delete(tmp_path: Path):
    spool = FullDisk(tmp_path / "lane.db", 2**20, durable=False)
    spool.append([row(1), row(2)])
    spool.remove([row(1)])
    assert positions(spool) == [2]
    assert not (tmp_path / "lane.db.ballast").exists()


class BrokenDisk(Spool):
    def _delete(self, rows: list[Stored]) -> None:
        raise SpoolFailure("read-only")


def test_without_reserved_room_a_failed_delete_is_raised(tmp_path: Path):
    spool = BrokenDisk(tmp_path / "lane.db", 2**20, durable=False)
    spool.append([row(1)])
    with pytest.raises(SpoolFailure):
        spool.remove([row(1)])
    assert spool.count == 1
