"""A file that is replaced as a whole, also under the name that an earlier release used."""

from pathlib import Path

import pytest

from ingestor.control.state_file import StateFile


@pytest.fixture
def file(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "new.json", former=tmp_path / "old.json")


def former(file: StateFile) -> Path:
    assert file.former is not None
    return file.former


def test_a_written_file_is_read_back_and_leaves_nothing_beside_it(file: StateFile):
    file.replace(b"one")
    file.replace(b"two")
    assert file.read() == b"two"
    assert list(file.path.parent.iterdir()) == [file.path]


def test_without_a_file_there_is_nothing_to_read(file: StateFile):
    with pytest.raises(FileNotFoundError):
        file.read()


def test_the_first_start_after_an_update_reads_the_former_file_and_its_age(file: StateFile):
    former(file).write_bytes(b"from before")
    assert file.read() == b"from before"
    assert file.modified_ns() == former(file).stat().st_mtime_ns
    assert former(file).exists()


def test_the_former_file_goes_once_the_new_one_is_written(file: StateFile):
    former(file).write_bytes(b"from before")
    file.replace(b"new")
    assert not former(file).exists()
    assert file.read() == b"new"


def test_a_former_file_never_hides_the_new_one(file: StateFile):
    file.replace(b"new")
    former(file).write_bytes(b"from before")
    assert file.read() == b"new"
    assert file.modified_ns() == file.path.stat().st_mtime_ns


def test_a_write_that_fails_keeps_both_files(file: StateFile):
    former(file).write_bytes(b"from before")
    file.path.with_suffix(".new").mkdir()
    with pytest.raises(OSError, match="directory"):
        file.replace(b"new")
    assert file.read() == b"from before"
