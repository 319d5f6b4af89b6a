"""Whether the spool can take events."""

from pathlib import Path

import pytest

from ingestor.delivery import disk_probe
from ingestor.delivery.disk_probe import DiskProbe


class Store:
    def __init__(self, room: bool = True) -> None:
        self.room = room

    def has_room(self, size: int) -> bool:
        return self.room


@pytest.fixture(autouse=True)
def always_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_probe, "_TRIED_EVERY_S", 0.0)


def test_a_folder_that_takes_writes_is_no_trouble_and_stays_empty(tmp_path: Path):
    assert DiskProbe(tmp_path, Store(), Store()).trouble() is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_nothing_is_told_until_it_does(tmp_path: Path):
    folder = tmp_path / "spool"
    mine = DiskProbe(folder, Store(), Store())
    first = mine.trouble()
    assert first is not None
    assert first.reason == "the spool's folder takes nothing: No such file or directory"
    assert mine.trouble() == first  # since then
    folder.mkdir()
    assert mine.trouble() is None


@pytest.mark.parametrize(("private", "market", "words"), [(False, True, "private"), (True, False, "market")])
def test_a_spool_at_its_limit_is_told(tmp_path: Path, private: bool, market: bool, words: str):
    found = DiskProbe(tmp_path, Store(private), Store(market)).trouble()
    assert found is not None
    assert found.reason.startswith(f"the spool of {words} events is full")


def test_it_is_looked_at_once_a_second_however_often_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(disk_probe, "_TRIED_EVERY_S", 1000.0)
    market = Store()
    mine = DiskProbe(tmp_path, Store(), market)
    assert mine.trouble() is None
    market.room = False
    assert mine.trouble() is None


def test_what_an_append_failed_on_is_trouble_too(tmp_path: Path):
    trouble = DiskProbe(tmp_path, Store(), Store(), failure=lambda: "market.db: disk image is malformed").trouble()
    assert trouble is not None
    assert trouble.reason == "the spool takes no events: market.db: disk image is malformed"
