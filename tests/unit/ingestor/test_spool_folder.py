"""A spool folder that cannot be used: who has to do what."""

from pathlib import Path

import pytest

from common.errors import ConfigError
from ingestor import spool_folder


def test_a_folder_that_is_none_needs_a_person(tmp_path: Path):
    (tmp_path / "spool").touch()
    with pytest.raises(ConfigError, match=r"WS_GATEWAY_SPOOL_DIR='.*': must be a writable folder"):
        spool_folder.lock(tmp_path / "spool")


def test_a_second_ingestor_on_the_same_folder_needs_a_person(tmp_path: Path):
    held = spool_folder.lock(tmp_path)
    assert held is not None
    with held, pytest.raises(ConfigError, match="must not be in use by another ingestor"):
        spool_folder.lock(tmp_path)
