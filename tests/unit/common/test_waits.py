"""Every wait of a thread ends when the process is to stop."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("package", ["ingestor", "persister"])
def test_no_thread_sleeps(package: str):
    asleep = [path.name for path in (ROOT / package).rglob("*.py") if "sleep(" in path.read_text()]
    assert asleep == []
