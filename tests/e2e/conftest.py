"""The whole gateway: one for a file, or a fresh one for a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, at_work
from tests.kit.servers import Broker, Database, Postgres, RabbitMQ


@pytest.fixture(scope="module")
def gateway(
    postgres: Postgres, migrated: Database, rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One gateway at work for all tests of a file."""
    with at_work(postgres, migrated, rabbitmq, tmp_path_factory.mktemp("gateway")) as mine:
        yield mine


@pytest.fixture
def stack(tmp_path: Path, database: Database, broker: Broker) -> Iterator[Stack]:
    """Nothing runs yet: start what the test needs."""
    mine = Stack(tmp_path, database, broker)
    try:
        yield mine
    finally:
        mine.stop()
