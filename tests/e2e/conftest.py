"""The whole gateway, fresh for each test that asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack
from tests.servers import Broker, Database


@pytest.fixture
def stack(tmp_path: Path, database: Database, broker: Broker) -> Iterator[Stack]:
    """Nothing runs yet: start what the test needs."""
    mine = Stack(tmp_path, database, broker)
    try:
        yield mine
    finally:
        mine.stop()
