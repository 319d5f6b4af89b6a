"""Fixtures: the whole gateway, shared by a file or new for a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, at_work
from tests.kit.servers import Broker, Database, Postgres, RabbitMQ


@pytest.fixture(scope="module")
def gateway(
    postgres: Postgres, migrated: Database, rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A running gateway for all tests of a file."""
    with at_work(postgres, migrated, rabbitmq, tmp_path_factory.mktemp("gateway")) as mine:
        yield mine


@pytest.fixture
def stack(tmp_path: Path, database: Database, broker: Broker) -> Iterator[Stack]:
    """A gateway without running processes; the test starts those that it needs."""
    mine = Stack(tmp_path, database, broker)
    try:
        yield mine
    finally:
        mine.stop()
