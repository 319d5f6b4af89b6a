"""A spool folder that cannot be used: who has to do what."""

from pathlib import Path

import pytest

from common.errors import ConfigError, Unavailable
from ingestor.__main__ import locked, open_spools


def test_a_folder_that_is_none_needs_a_person(tmp_path: Path):
    (tmp_path / "spool").touch()
    with pytest.raises(ConfigError, match=r"WS_GATEWAY_SPOOL_DIR='.*': allowed is a writable folder"):
        locked(tmp_path / "spool")


def test_a_second_ingestor_on_the_same_folder_needs_a_person(tmp_path: Path):
    with locked(tmp_path), pytest.raises(ConfigError, match="another ingestor uses this folder"):
        locked(tmp_path)


def test_a_disk_that_takes_nothing_is_tried_again(tmp_path: Path):
    (tmp_path / "market.db").mkdir()  # SQLite cannot open it either
    with pytest.raises(Unavailable, match=r"market\.db"):
        open_spools(tmp_path, 2**20)
