"""New credentials while the process runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.lifecycle import start
from common.settings import Credentials
from ingestor.control.credentials import CredentialsWatch
from tests.kit.waiting import eventually


class Environment:
    """What the process reads, unless it cannot be read."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.unreadable = False
        self.reads = 0

    def read(self) -> Mapping[str, str]:
        self.reads += 1
        if self.unreadable:
            raise ConfigError(".env cannot be read")
        return self.values


@pytest.fixture
def environment() -> Environment:
    return Environment()


@contextmanager
def running(watch: CredentialsWatch) -> Iterator[None]:
    worker = start(watch)
    try:
        yield
    finally:
        worker.stop()
        assert worker.ended(within_s=20)


def test_settings_that_cannot_be_read_for_a_while_change_nothing_and_end_nothing(environment: Environment):
    renewed: list[Credentials | None] = []
    watch = CredentialsWatch(environment.read, renewed.append, check_every_s=0.02)
    with running(watch):
        environment.unreadable = True
        before = environment.reads
        watch.request()
        eventually(lambda: environment.reads >= before + 3, 20, "it was read, and checked again")
        assert None not in renewed
        environment.unreadable = False
        environment.values = {"BYBIT_API_KEY": "key", "BYBIT_API_SECRET": "secret", "BYBIT_API_KEY_FILE": ""}
        watch.request()
        eventually(lambda: Credentials("key", "secret") in renewed, 20, "the new ones are used")


def test_a_changed_secret_file_is_read_without_a_request(environment: Environment, tmp_path: Path):
    key, secret = tmp_path / "key", tmp_path / "secret"
    environment.values = {"BYBIT_API_KEY_FILE": str(key), "BYBIT_API_SECRET_FILE": str(secret)}
    renewed: list[Credentials | None] = []
    with running(CredentialsWatch(environment.read, renewed.append, check_every_s=0.02)):
        eventually(lambda: environment.reads >= 2, 20, "it has checked once")
        key.write_text("key")
        secret.write_text("secret")
        eventually(lambda: Credentials("key", "secret") in renewed, 20, "the files are read")


def test_requests_that_wait_are_one(environment: Environment):
    renewed: list[Credentials | None] = []
    watch = CredentialsWatch(environment.read, renewed.append, check_every_s=0.02)
    for _ in range(1000):
        watch.request()
    with running(watch):
        eventually(lambda: renewed, 20, "the request is met")
        reads = environment.reads
        eventually(lambda: environment.reads > reads, 20, "the next check finds nothing new")
    assert renewed == [None]
