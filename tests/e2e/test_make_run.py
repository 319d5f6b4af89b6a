"""`make run` in a fresh clone, as a person sees it."""

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.run import env_file, processes
from deploy.run.supervision import Supervisor
from tests.conftest import need
from tests.kit import children
from tests.kit.reaper import working_folder
from tests.kit.servers import ROOT, claimed, free_port
from tests.kit.waiting import eventually

pytestmark = pytest.mark.timeout(400)

PORTS = (
    "POSTGRES_PORT",
    "RABBITMQ_PORT",
    "RABBITMQ_MANAGEMENT_PORT",
    "RABBITMQ_DIST_PORT",
    "ERL_EPMD_PORT",
    "WS_GATEWAY_PORT",
    "SIMULATOR_PORT",
)
PROGRAMS = ["api", "ingestor", "persister", "postgres", "rabbitmq", "simulator"]


class Clone:
    """A clone under a private folder, with ports of its own."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o700)
        self.root = folder / "a clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(self.root)], check=True)
        self.ports = {name: free_port() for name in PORTS} | self._metrics_ports()
        self.secret = ""

    def write_env(self) -> None:
        """env.example with our ports, and passwords that need quoting in every language on their way."""
        self.secret = secrets.token_hex(8)
        text = env_file.rendered((self.root / "env.example").read_text(), lambda: f"'{self.secret}@:/ %$\"#é'")
        lines = [line for line in text.splitlines() if line.lstrip("#").partition("=")[0] not in self.ports]
        lines += [f"{name}={number}" for name, number in self.ports.items()]
        lines += [f"WS_GATEWAY_API_KEY={self.secret}"]  # the last one counts, and a header takes no such characters
        (self.root / ".env").write_text("\n".join(lines) + "\n")

    def begin(self, target: str, **env: str) -> subprocess.Popen[str]:
        """As from a terminal: a background job may ignore Ctrl-C."""
        return children.start(
            ["env", "--default-signal=INT,TERM", "make", target],
            cwd=self.root,
            env=self.environment() | env,
            stdout=subprocess.PIPE,
            text=True,
            own_session=True,
        )

    def make(self, target: str, **env: str) -> tuple[int, str]:
        with self.begin(target, **env) as child:
            output, _ = child.communicate(timeout=240)
            return child.returncode, output

    def environment(self) -> dict[str, str]:
        """Ours, without what would overrule the clone's .env."""
        ours = (line.lstrip("#").partition("=")[0] for line in (ROOT / "env.example").read_text().splitlines())
        overruling = {name + suffix for name in ours for suffix in ("", "_FILE")} | {"MAKEFLAGS", "MAKELEVEL"}
        return {name: value for name, value in os.environ.items() if name not in overruling}

    def supervisorctl(self, *arguments: str, config: str = ".run/supervisord.conf") -> str:
        command = [str(self.root / ".venv/bin/supervisorctl"), "-c", config, *arguments]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=30).stdout

    def family(self) -> list[int]:
        pid = Supervisor(self.root).pid()
        return processes.family_of(pid) if pid else []

    def leftovers(self) -> list[str]:
        """Processes that work in the clone or were started by its supervisord."""
        socket_file = Supervisor(self.root).socket
        ours = set(processes.with_variable("SUPERVISOR_SERVER_URL", f"unix://{socket_file}"))
        for pid in processes.all_pids():
            if str(self.root) in processes.command_of(pid) + working_folder(pid):
                ours.add(pid)
        return [processes.command_of(pid) for pid in ours if processes.alive(pid)]

    def taken_ports(self) -> list[str]:
        return [name for name, number in self.ports.items() if answers(number)]

    def _metrics_ports(self) -> dict[str, int]:
        return {"WS_GATEWAY_METRICS_PORT": eventually(pair_of_free_ports, 10, "two free ports in a row")}


def pair_of_free_ports() -> int | None:
    first = free_port()
    return first if claimed(first + 1) else None


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    need("postgres")
    need("rabbitmq")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout")
    made = Clone(tmp_path_factory.mktemp("private"))
    made.write_env()
    try:
        yield made
    finally:
        made.make("stop")
        shutil.rmtree(made.root)


@pytest.fixture(scope="module")
def first_start(clone: Clone) -> str:
    status, output = clone.make("run")
    assert status == 0, output
    return output


def test_the_first_start_ends_with_all_one_needs_and_live_events(first_start: str, clone: Clone) -> None:
    api = f"http://127.0.0.1:{clone.ports['WS_GATEWAY_PORT']}"
    assert re.search(r"health +200 healthy, exchange: simulator", first_start)
    for expected in (api, f"{api}/docs", clone.secret, f"curl {api}/health", "ws-gateway.trades.demo"):
        assert expected in first_start
    assert re.search(rf"amqp://ws_gateway:{clone.secret}%40%3A%2F[^@]*@127.0.0.1:\d+/%2F", first_start)
    assert len(re.findall(r"^  \d\d:\d\d:\d\d\.\d{3}  bybit\.trades +publicTrade\.BTCUSDT", first_start, re.M)) >= 3


def test_supervisorctl_shows_every_program_by_either_path(first_start: str, clone: Clone) -> None:
    for config in (".run/supervisord.conf", str(clone.root / ".run/supervisord.conf")):
        lines = clone.supervisorctl("status", config=config).splitlines()
        assert [line.split()[:2] for line in lines] == [[f"gateway:{name}", "RUNNING"] for name in PROGRAMS]
    assert clone.make("status")[0] == 0


def test_no_secret_is_in_a_command_line_or_a_log(first_start: str, clone: Clone) -> None:
    assert not [pid for pid in clone.family() if clone.secret in processes.command_of(pid)]
    for log in (clone.root / ".run" / "log").iterdir():
        assert clone.secret not in log.read_text(errors="replace"), log.name


def test_files_are_private(first_start: str, clone: Clone) -> None:
    assert (clone.root / ".run").stat().st_mode & 0o066 == 0
    for path in (clone.root / ".run").iterdir():
        if path.is_dir():
            assert path.stat().st_mode & 0o077 == 0, path
    assert Supervisor(clone.root).socket.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs everything as itself")
def test_root_runs_the_servers_and_our_programs_as_unprivileged_users(first_start: str, clone: Clone) -> None:
    users = {processes.command_of(pid): user_of(pid) for pid in clone.family()[1:]}
    assert set(users.values()) == {"postgres", "rabbitmq", "ws-gateway"}
    for word, user in {"beam.smp": "rabbitmq", "postgres:": "postgres", "ingestor": "ws-gateway"}.items():
        assert {name for command, name in users.items() if word in command} == {user}


def user_of(pid: int) -> str:
    return pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name


def is_postgres(pid: int) -> bool:
    return "postgres:" in processes.command_of(pid)


def test_a_second_start_changes_nothing_and_is_quick(first_start: str, clone: Clone) -> None:
    before, began_at = clone.family(), time.monotonic()
    status, output = clone.make("run")
    assert status == 0, output
    assert time.monotonic() - began_at < 30  # five seconds where nothing else runs
    assert set(before) & set(clone.family()) == set(before)
    assert "bybit.trades" in output


def test_a_wrong_value_is_named_at_once(first_start: str, clone: Clone) -> None:
    began_at = time.monotonic()
    status, output = clone.make("run", BYBIT_ENVIRONMENT="prod")
    assert status != 0
    assert time.monotonic() - began_at < 10  # a third of a second where nothing else runs
    assert "BYBIT_ENVIRONMENT='prod': must be one of mainnet, testnet, demo, simulator" in output


def test_stop_leaves_no_process_and_frees_the_ports(first_start: str, clone: Clone) -> None:
    assert clone.taken_ports()
    status, output = clone.make("stop")
    assert status == 0, output
    assert clone.leftovers() == []
    assert clone.taken_ports() == []
    assert "nothing was running" in clone.make("stop")[1]


def test_a_taken_port_is_named_with_its_holder_before_anything_starts(first_start: str, clone: Clone) -> None:
    clone.make("stop")
    with socket.create_server(("127.0.0.1", clone.ports["RABBITMQ_PORT"])):
        status, output = clone.make("run")
    assert status != 0
    assert f"{clone.ports['RABBITMQ_PORT']} is held by pid {os.getpid()}, " in output
    assert "RABBITMQ_PORT in .env" in output
    assert clone.leftovers() == []


@pytest.mark.parametrize("to_all", [True, False], ids=["from a terminal", "to make alone"])
def test_an_interrupted_start_leaves_nothing(first_start: str, clone: Clone, to_all: bool) -> None:
    stopped, output = clone.make("stop")
    assert stopped == 0, output
    with clone.begin("run") as child:
        eventually(lambda: any(map(is_postgres, clone.family())), 30, "servers are being started")
        if to_all:
            os.killpg(child.pid, signal.SIGINT)
        else:
            child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=30)
    assert clone.leftovers() == [], output
    assert clone.taken_ports() == []


def test_new_secrets_reach_the_servers_of_kept_data(first_start: str, clone: Clone) -> None:
    old = clone.secret
    clone.write_env()
    assert clone.secret != old
    status, output = clone.make("run")
    assert status == 0, output
    assert clone.secret in output


def test_with_another_exchange_nothing_is_subscribed_and_no_secret_is_printed(first_start: str, clone: Clone) -> None:
    with simulator() as address:
        theirs = {
            "BYBIT_ENVIRONMENT": "testnet",
            "BYBIT_WS_URL": f"ws://{address}",
            "BYBIT_REST_URL": f"http://{address}",
        }
        status, output = clone.make("run", **theirs)
        assert status == 0, output
        assert clone.secret not in output
        assert "bybit.trades" not in output
        commands = re.findall(r"^  ((?:set|curl) .*)$", output, re.MULTILINE)
        assert len(commands) == 3
        done = subprocess.run(["bash", "-c", "\n".join(commands)], cwd=clone.root, capture_output=True, text=True)
        assert '"status":"live"' in done.stdout.replace(" ", ""), done.stdout + done.stderr
        clone.make("stop")


@contextlib.contextmanager
def simulator() -> Iterator[str]:
    """One that `make run` knows nothing of, by host and port."""
    port = free_port()
    child = children.start([sys.executable, "-m", "simulator", "--port", str(port)], cwd=ROOT)
    try:
        eventually(lambda: answers(port), 10, "the simulator listens")
        yield f"127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait()
