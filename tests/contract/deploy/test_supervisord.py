"""What supervisord, with our settings for it, does after a program has ended."""

import configparser
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.run.supervision import Program, Supervisor
from tests.kit.servers import ROOT
from tests.kit.waiting import eventually

CONFIGURATIONS = ["run.conf", "container.conf"]


def section_of(configuration: str, command: str) -> str:
    """Our ingestor's section, with another command and without its log."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "deploy/supervisor" / configuration)
    kept = {name: value for name, value in parser["program:ingestor"].items() if not name.startswith("stdout_")}
    lines = [f"{name}={value}" for name, value in (kept | {"command": command, "autostart": "true"}).items()]
    return "\n".join(["[program:ingestor]", *lines])


@contextmanager
def supervised(folder: Path, configuration: str, command: str) -> Iterator[Supervisor]:
    (folder / ".run").mkdir()
    supervisor = Supervisor(folder)
    supervisor.socket.parent.mkdir(mode=0o700, exist_ok=True)
    supervisor.config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={folder}/log\npidfile={folder}/pid\n"
        f"[unix_http_server]\nfile={supervisor.socket}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        + section_of(configuration, command)
    )
    with subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", supervisor.config], cwd=ROOT
    ) as process:
        try:
            eventually(supervisor.answers, 20, "supervisord answers")
            yield supervisor
        finally:
            process.terminate()


def recorded(command: str, folder: Path) -> str:
    return f"sh -c 'echo started >> {folder}/starts; {command}'"


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text().splitlines())


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_program_whose_setting_is_wrong_is_started_once(
    tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch
):
    command = f"{sys.executable} -m ingestor"
    monkeypatch.setenv("POSTGRES_PORT", "many")
    with supervised(tmp_path, configuration, recorded(command, tmp_path)) as supervisor:
        eventually(lambda: supervisor.state("ingestor") == "EXITED", 30, "it has ended")
        pings = [supervisor.answers() for _ in range(3)]  # each goes once round supervisord's loop
        [program] = supervisor.programs()
        assert all(pings)
        assert program == Program("ingestor", "EXITED", 78)
        assert starts(tmp_path) == 1


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("status", [0, 1])
def test_a_program_that_ends_otherwise_is_started_again(tmp_path: Path, configuration: str, status: int):
    with supervised(tmp_path, configuration, recorded(f"exit {status}", tmp_path)):
        eventually(lambda: starts(tmp_path) > 2, 30, "it was started again and again")
