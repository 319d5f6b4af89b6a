"""New credentials while the process runs."""

from collections.abc import Mapping

import pytest

from common.errors import ConfigError
from common.lifecycle import Crew
from common.settings import Credentials
from ingestor.control.credentials import CredentialsWatch
from tests.kit.waiting import eventually


class Environment:
    """What is read, unless it cannot be."""

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


def test_a_file_of_settings_that_cannot_be_read_for_a_while_changes_nothing_and_ends_nothing(
    environment: Environment,
):
    renewed: list[Credentials | None] = []
    watch = CredentialsWatch(environment.read, renewed.append)
    running = Crew().start(watch)
    environment.unreadable = True
    before = environment.reads
    watch.look()
    eventually(lambda: environment.reads >= before + 3, 10, "it was read, and looked at again")
    assert None not in renewed
    environment.unreadable = False
    environment.values = {"BYBIT_API_KEY": "key", "BYBIT_API_SECRET": "secret", "BYBIT_API_KEY_FILE": ""}
    watch.look()
    eventually(lambda: Credentials("key", "secret") in renewed, 10, "the new ones are taken")
    running.stop()
    assert running.ended(within_s=5)
