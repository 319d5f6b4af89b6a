"""docs/configuration.md and env.example name every setting that the code reads, with its default."""

import re
from collections.abc import Callable, Mapping

import pytest

import api.settings
import ingestor.settings
import persister.settings
from deploy.run import settings as run
from tests.kit.servers import ROOT

PROCESSES = (run.Settings, ingestor.settings.Settings, persister.settings.Settings, api.settings.Settings)
OF_COMPOSE = {"POSTGRES_IMAGE", "RABBITMQ_IMAGE"}
ROW = re.compile(r"^\| `([A-Z_]+)`( s)? \| (?:`([^`]*)` |random )?\|", re.MULTILINE)
LINE = re.compile(r"^#?([A-Z][A-Z_]+)=(.*)$", re.MULTILINE)
EXAMPLE = dict(LINE.findall((ROOT / "env.example").read_text()))


class Recording(dict[str, str]):
    """Keeps the names that are read."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self.names.add(name)
        return super().get(name, default)


@pytest.fixture(scope="module")
def read() -> set[str]:
    given = Recording({"POSTGRES_PASSWORD": "p", "RABBITMQ_PASSWORD": "p", "WS_GATEWAY_API_KEY": "k"})
    given["RABBITMQ_MANAGEMENT_PORT"] = "1"
    for process in PROCESSES:
        from_env: Callable[[Mapping[str, str]], object] = process.from_env
        from_env(given)
    return given.names


@pytest.fixture(scope="module")
def documented() -> dict[str, tuple[bool, str]]:
    """Whether each setting may come from a file, and its default."""
    table = (ROOT / "docs" / "configuration.md").read_text().partition("## Settings")[2].partition("\n## ")[0]
    found = {name: (bool(secret), default) for name, secret, default in ROW.findall(table)}
    assert len(found) == table.count("\n| `")
    return found


def secrets(read: set[str]) -> set[str]:
    return {name for name in read if f"{name}_FILE" in read}


def test_every_setting_is_documented_and_none_that_does_not_exist(
    read: set[str], documented: dict[str, tuple[bool, str]]
):
    files = {f"{name}_FILE" for name in secrets(read)}
    assert set(documented) == (read - files) | OF_COMPOSE
    assert set(EXAMPLE) == set(documented)


def test_a_setting_is_marked_as_a_secret_when_it_may_come_from_a_file(
    read: set[str], documented: dict[str, tuple[bool, str]]
):
    assert {name for name, (secret, _) in documented.items() if secret} == secrets(read)


def test_the_example_has_the_documented_defaults(documented: dict[str, tuple[bool, str]]):
    assert {name: EXAMPLE[name] for name in documented} == {name: default for name, (_, default) in documented.items()}
