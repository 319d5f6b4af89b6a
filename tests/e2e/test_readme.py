"""The commands and programs of the tour, and the table of settings, are true as they are written."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from json import loads
from pathlib import Path
from typing import Any

import pytest

import api.settings
import deploy.run.settings
import ingestor.settings
import persister.settings
import simulator.settings
from common.errors import ConfigError
from tests.e2e.stack import Stack
from tests.kit import children
from tests.kit.servers import ROOT, Broker
from tests.kit.waiting import eventually

README = (ROOT / "README.md").read_text()
TOUR = (ROOT / "docs" / "getting-started.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
OF_DEPLOYMENTS_ONLY = {"SIMULATOR_HOST", "SIMULATOR_KEY", "SIMULATOR_SECRET"}  # docs/simulator.md lists them


def section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)


# -- the tour ---------------------------------------------------------------------------------------------------


class Person:
    """Someone who pastes blocks into one shell, in the folder of the clone."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder = folder
        self.programs: list[int] = []
        self._shell = children.start(
            ["bash"],
            cwd=folder,
            env={"PATH": path, "HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def pastes(self, text: str) -> str:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{text}\nprintf '\\n--%s--\\n' $?\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in iter(self._shell.stdout.readline, ""):
            if re.fullmatch(r"--\d+--\n", line):
                assert line == "--0--\n", "".join(lines)
                break
            lines.append(line)
        return "".join(lines)

    def calls(self, text: str) -> list[Any]:
        return [loads(line) for line in self.pastes(text).splitlines() if line]

    def runs(self, program: str, until: Callable[[str], bool]) -> str:
        """Save it under the name in its first line, run it, end it."""
        name = program.splitlines()[0].removeprefix("# ")
        (self.folder / name).write_text(program)
        output = self.folder / f"{name}.out"
        pid = int(self.pastes(f".venv/bin/python {name} > {output.name} 2>&1 & echo $!"))
        self.programs.append(pid)
        eventually(lambda: until(output.read_text()), 30, f"{name} shows events: {output}")
        self.pastes(f"kill {pid}; wait {pid} || true")
        return output.read_text()

    def ends(self) -> None:
        for pid in self.programs:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._shell.kill()
        self._shell.wait(10)


@pytest.fixture
def person(stack: Stack, tmp_path: Path) -> Iterator[Person]:
    clone = tmp_path / "clone"
    clone.mkdir()
    stack.broker = with_plain_password(stack.broker)
    (clone / ".env").write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in stack.env.items()))
    (clone / "examples").symlink_to(ROOT / "examples")
    (clone / ".venv").symlink_to(sys.prefix)
    stack.start()
    stack.healthy()
    mine = Person(clone, os.environ["PATH"] if shutil.which("curl") else f"{stand_in(tmp_path)}:{os.environ['PATH']}")
    try:
        yield mine
    finally:
        mine.ends()


def with_plain_password(broker: Broker) -> Broker:
    """A user whose password needs no quoting, like one that `make run` makes."""
    user = replace(broker, user="readme", password="plain_password")
    broker.manage("PUT", "users/readme", {"password": user.password, "tags": "administrator"})
    user_rights = {"configure": ".*", "write": ".*", "read": ".*"}
    broker.manage("PUT", f"permissions/{broker.vhost.replace('/', '%2F')}/readme", user_rights)
    return user


def stand_in(folder: Path) -> Path:
    """A machine with nothing but Python has no curl."""
    (folder / "bin").mkdir()
    (folder / "bin/curl").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {ROOT}/tests/e2e/curl.py "$@"\n')
    (folder / "bin/curl").chmod(0o755)
    return folder / "bin"


def test_the_tour_works_as_it_is_written(person: Person):
    answers: list[Any] = []
    for language, text in blocks(section(TOUR, "A tour in five minutes")):
        if language == "python":
            output = person.runs(text, until=lambda output: output.count("publicTrade.BTCUSDT") >= 3)
            assert "Traceback" not in output
        else:
            answers += person.calls(text)
    assert [answer for answer in answers if "code" in answer] == []

    (
        trades,
        book,
        topics,
        sockets,
        queues,
        gaps,
        now,
        history,
        health,
        ready,
        diagnosis,
        key,
        listed,
        ended,
        all_ended,
    ) = answers
    assert (trades["status"], book["status"]) == ("live", "live")
    assert trades["queue"] == "ws-gateway.trades.my-service"
    assert {"publicTrade.BTCUSDT", "orderbook.50.ETHUSDT", "wallet"} <= {item["topic"] for item in topics["items"]}
    assert {item["endpoint"] for item in sockets["items"]} == {"linear", "private"}
    assert len(queues["items"]) == 5
    assert gaps["total"] == 0
    assert [item["coin"] for item in now["items"]] == ["USDT"]
    assert history["total"] >= 1
    assert health["status"] == "healthy"
    assert ready == {"service": "my-service", "ready": True, "missing": []}
    assert diagnosis["subscription"]["id"] == trades["id"]
    assert diagnosis["broken"] in (None, "consumer")  # my_service.py has ended
    assert key["service"] == "my-service"
    assert [row["id"] for row in listed["kept"]] == [trades["id"]]
    assert [row["id"] for row in listed["removed"]] == [book["id"]]
    assert [row["topic"] for row in listed["added"]] == ["tickers.SOLUSDT"]
    assert (ended["id"], ended["status"]) == (trades["id"], "cancelled")
    assert [row["topic"] for row in all_ended["items"]] == ["tickers.SOLUSDT"]


def test_the_programs_of_the_readme_are_those_of_the_tour():
    executed = blocks(section(TOUR, "A tour in five minutes"))
    shown = [block for block in blocks(section(README, "See it live")) if block[0] in ("bash", "python")]
    assert len(shown) == 3
    assert [block for block in shown if block not in executed] == []


# -- the table --------------------------------------------------------------------------------------------------


class RecordingEnvironment(dict[str, str]):
    """An environment that remembers which variables were read."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def read_by_the_packages() -> set[str]:
    read = RecordingEnvironment()
    for package in (ingestor.settings, api.settings, persister.settings, deploy.run.settings):
        with suppress(ConfigError):
            package.Settings.from_env(read)
    simulator.settings.Settings.read([], read)
    return {name for name in read.names if name.removesuffix("_FILE") not in read.names - {name}}


def in_the_example() -> Mapping[str, str]:
    lines = (ROOT / "env.example").read_text().splitlines()
    found = (re.fullmatch(r"#?([A-Z_]+)=(.*)", line) for line in lines)
    return {each[1]: each[2] for each in found if each}


def in_the_table() -> Mapping[str, str]:
    rows = re.findall(r"^\| `([A-Z_]+)`(?: s)? \|([^|]*)\|", section(CONFIGURATION, "Settings"), re.M)
    return {name: default.strip().strip("`") for name, default in rows}


def test_the_table_names_every_variable_that_is_read():
    assert set(in_the_table()) == (read_by_the_packages() | set(in_the_example())) - OF_DEPLOYMENTS_ONLY


def test_the_table_has_the_defaults_of_the_example():
    table, example = in_the_table(), in_the_example()
    assert {name: table[name].replace("random", "") for name in example} == example


def test_secrets_are_marked_and_may_come_from_a_file():
    read = RecordingEnvironment()
    for package in (ingestor.settings, api.settings):
        with suppress(ConfigError):
            package.Settings.from_env(read)
    secret = {name for name in read.names if f"{name}_FILE" in read.names}
    assert set(re.findall(r"^\| `([A-Z_]+)` s ", section(CONFIGURATION, "Settings"), re.M)) == secret
