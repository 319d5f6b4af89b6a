"""Every process of ours ends with status 78 and one line when a setting is wrong."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.kit.servers import ROOT, free_port
from tests.kit.waiting import eventually

GIVEN = {
    "POSTGRES_PASSWORD": "x",
    "RABBITMQ_PASSWORD": "x",
    "WS_GATEWAY_API_KEY": "x",
    "POSTGRES_PORT": "1",
    "RABBITMQ_PORT": "1",
}
GUNICORN = ("-m", "gunicorn", "-c", str(ROOT / "deploy/gunicorn.conf.py"), "api.wsgi:app")
COMMANDS = {
    "ingestor": ("-m", "ingestor"),
    "persister": ("-m", "persister"),
    "api": GUNICORN,
    "wsgi": ("-c", "import api.wsgi"),
    "ws-gateway": ("-m", "cli", "dead", "list"),
    "alembic": ("-m", "alembic", "-c", str(ROOT / "alembic.ini"), "upgrade", "head"),
    "program": ("-m", "deploy.run.program", "ingestor"),
}


def environment(folder: Path, **more: str) -> dict[str, str]:
    spool = {"WS_GATEWAY_SPOOL_DIR": str(folder / "spool")}
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | GIVEN | spool | more


def ended(folder: Path, command: tuple[str, ...], env: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_value_ends_it_with_one_line_naming_it(tmp_path: Path, name: str):
    status, output = ended(tmp_path, COMMANDS[name], environment(tmp_path, POSTGRES_PORT="many", RABBITMQ_PORT="many"))
    assert status == 78, output
    [line] = output.splitlines()
    assert "_PORT='many': must be a whole number from 1 to 65535" in line


@pytest.mark.parametrize("name", COMMANDS)
def test_a_url_that_contradicts_a_variable_ends_it_without_a_secret(tmp_path: Path, name: str):
    urls = {"DATABASE_URL": "postgresql://me:the-secret@db/rows", "RABBITMQ_URL": "amqp://me:the-secret@mq"}
    status, output = ended(tmp_path, COMMANDS[name], environment(tmp_path, **urls))
    assert status == 78, output
    [line] = output.splitlines()
    assert "_URL contradicts " in line
    assert "the-secret" not in output


def test_make_run_ends_the_same_way_before_anything_is_started(tmp_path: Path):
    status, output = ended(ROOT, ("-m", "deploy.run", "up"), environment(tmp_path, POSTGRES_PORT="many"))
    assert (status, output.strip()) == (78, "error: POSTGRES_PORT='many': must be a whole number from 1 to 65535")


@pytest.mark.parametrize("command", [("--port", "0"), ("--speed", "none")])
def test_the_simulator_ends_the_same_way(tmp_path: Path, command: tuple[str, ...]):
    status, output = ended(tmp_path, ("-m", "simulator", *command), environment(tmp_path))
    assert status == 78
    [line] = output.splitlines()
    assert command[0] in line


@pytest.mark.parametrize("name", ["ingestor", "persister"])
def test_a_port_that_is_taken_ends_it_too(tmp_path: Path, name: str):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        status, output = ended(tmp_path, COMMANDS[name], environment(tmp_path, WS_GATEWAY_METRICS_PORT=port))
    assert status == 78
    [line] = output.splitlines()
    assert line.startswith(f"{name}: WS_GATEWAY_METRICS_PORT={port}")


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    port = free_port()
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in GIVEN.items()))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "WS_GATEWAY_PORT": str(port)}
    with subprocess.Popen([sys.executable, *GUNICORN], cwd=folder, env=env) as process:
        try:
            eventually(lambda: answers(port), 30, "the api answers")
            yield port, process
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5) as answer:
        return bool(answer.status == 200)


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_a_worker_started_later_takes_the_settings_that_were_found_in_order(tmp_path: Path):
    with served(tmp_path) as (port, process):
        before = eventually(lambda: found if len(found := children(process.pid)) == 2 else None, 10, "two workers")
        (tmp_path / ".env").write_text("POSTGRES_PORT=many\n")
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        eventually(lambda: not before & children(process.pid), 10, "the workers are gone")
        eventually(lambda: answers(port), 30, "their successors answer")
