"""Whether the spool can accept events."""

from pathlib import Path

import pytest

from ingestor.delivery.disk_probe import PROBE_EVERY_S, DiskProbe


class FakeSpool:
    def __init__(self, room: bool = True) -> None:
        self.room = room
        self.sizes: list[int] = []

    def has_room(self, size: int) -> bool:
        self.sizes.append(size)
        return self.room


class Clock:
    """Each reading is a probe's interval after the previous one, while it runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs = True

    def __call__(self) -> float:
        if self.runs:
            self.now += PROBE_EVERY_S
        return self.now


def test_a_writable_folder_is_fine_and_stays_empty(tmp_path: Path):
    assert DiskProbe(tmp_path, FakeSpool(), FakeSpool()).trouble() is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_writable_is_reported_until_it_is(tmp_path: Path):
    folder = tmp_path / "spool"
    probe = DiskProbe(folder, FakeSpool(), FakeSpool(), clock=Clock())
    first = probe.trouble()
    assert first is not None
    assert first.reason == "the spool folder is not writable: No such file or directory"
    assert probe.trouble() == first, "it began with the first one"
    folder.mkdir()
    assert probe.trouble() is None


@pytest.mark.parametrize(("private", "market", "words"), [(False, True, "private"), (True, False, "market")])
def test_a_spool_at_its_limit_is_reported(tmp_path: Path, private: bool, market: bool, words: str):
    found = DiskProbe(tmp_path, FakeSpool(private), FakeSpool(market)).trouble()
    assert found is not None
    assert found.reason.startswith(f"the spool of {words} events is full")


def test_a_spool_is_full_with_less_than_the_given_room(tmp_path: Path):
    market = FakeSpool()
    DiskProbe(tmp_path, FakeSpool(), market, room=7).trouble()
    assert market.sizes == [7]


def test_it_probes_once_a_second_however_often_it_is_called(tmp_path: Path):
    market, clock = FakeSpool(), Clock()
    probe = DiskProbe(tmp_path, FakeSpool(), market, clock=clock)
    assert probe.trouble() is None
    market.room = clock.runs = False
    assert probe.trouble() is None
    clock.now += PROBE_EVERY_S
    assert probe.trouble() is not None


def test_the_failure_of_an_append_is_trouble_too(tmp_path: Path):
    probe = DiskProbe(tmp_path, FakeSpool(), FakeSpool(), failure=lambda: "market.db: disk image is malformed")
    trouble = probe.trouble()
    assert trouble is not None
    assert trouble.reason == "the spool accepts no events: market.db: disk image is malformed"
