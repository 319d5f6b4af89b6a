"""All processes of the gateway and the simulator, on servers and ports of one test."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kit import children, servers
from tests.kit.servers import ROOT, Broker, Database, Postgres, RabbitMQ, free_port
from tests.kit.waiting import eventually

_STOP_WITHIN_S = 25.0
KEY = "end-to-end-key"
Answer = tuple[int, Any]


class Process:
    """One of our processes, its output in a file."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._command = command
        self._env = env
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = children.start(
                self._command,
                env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **self._env},
                cwd=ROOT,
                stdout=log,
                own_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        os.killpg(self.pid, number)

    def hang_up(self) -> None:
        """SIGHUP: read the credentials again."""
        os.kill(self.pid, signal.SIGHUP)

    def stop(self) -> int:
        """Stop it with SIGTERM; return the exit status."""
        assert self._process is not None, "not started"
        if self.running:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_STOP_WITHIN_S)

    def kill(self) -> None:
        if self.running and self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait(_STOP_WITHIN_S)

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def lines(self) -> list[dict[str, Any]]:
        """Its log lines as JSON objects."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]


@dataclass(slots=True)
class Stack:
    """Starts the processes that a test needs; `stop` ends all of them."""

    folder: Path
    database: Database
    broker: Broker
    more: dict[str, str] = field(default_factory=dict)
    simulator_port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    ingestor_metrics: int = field(default_factory=free_port)
    persister_metrics: int = field(default_factory=free_port)
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        exchange = f"127.0.0.1:{self.simulator_port}"
        return (
            self.database.environ()
            | self.broker.environ()
            | {
                "BYBIT_ENVIRONMENT": "simulator",
                "BYBIT_API_KEY": "simulator-key",
                "BYBIT_API_SECRET": "simulator-secret",
                "BYBIT_WS_URL": f"ws://{exchange}",
                "BYBIT_REST_URL": f"http://{exchange}",
                "WS_GATEWAY_API_KEY": KEY,
                "WS_GATEWAY_PORT": str(self.api_port),
                "WS_GATEWAY_SPOOL_DIR": str(self.folder / "spool"),
            }
            | self.more
        )

    def start(self, *names: str) -> None:
        for name in names or ("simulator", "ingestor", "persister", "api"):
            getattr(self, f"_start_{name}")()

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()

    def _start_simulator(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "simulator", "--port", str(self.simulator_port), *arguments]
        self._run("simulator", command, {})
        eventually(lambda: get(self.simulator_port, "/v5/market/time"), 20, "the simulator answers")

    def simulate(self, *arguments: str) -> None:
        self._start_simulator(*arguments)

    def _start_ingestor(self) -> None:
        self._run(
            "ingestor", [sys.executable, "-m", "ingestor"], {"WS_GATEWAY_METRICS_PORT": str(self.ingestor_metrics)}
        )

    def _start_persister(self) -> None:
        more = {"WS_GATEWAY_METRICS_PORT": str(self.persister_metrics)}
        self._run("persister", [sys.executable, "-m", "persister"], more)

    def _start_api(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "api.wsgi:app"]
        self._run("api", command, {})
        eventually(lambda: get(self.api_port, "/health/live"), 20, "the api answers")

    def _run(self, name: str, command: Sequence[str], more: Mapping[str, str]) -> None:
        process = Process(name, command, {**self.env, **more}, self.folder)
        self.processes[name] = process
        process.start()

    # -- asking ---------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        return call(self.api_port, method, path, body, {"X-API-Key": KEY} | dict(headers or {}))

    def subscribe(self, service: str, **subscription: object) -> dict[str, Any]:
        status, row = self.call("POST", "/api/v1/subscriptions", subscription | {"requesting_service": service})
        assert status in (200, 201), (status, row)
        return dict(row)

    def live(self, service: str, within_s: float = 20.0) -> None:
        """Wait until all subscriptions of the service are live."""
        eventually(
            lambda: call(self.api_port, "GET", f"/ready?service={service}")[0] == 200, within_s, f"{service} is ready"
        )

    def healthy(self, within_s: float = 30.0) -> None:
        eventually(lambda: call(self.api_port, "GET", "/health")[0] == 200, within_s, "the gateway is healthy")

    def metrics(self, port: int | None = None) -> dict[str, float]:
        """The metrics of the ingestor, or of the process on this port."""
        text = get(port or self.ingestor_metrics, "/metrics")
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@contextmanager
def working(mine: Stack) -> Iterator[Stack]:
    """All processes run and are healthy."""
    try:
        mine.start()
        mine.healthy()
        yield mine
    finally:
        mine.stop()


@contextmanager
def at_work(postgres: Postgres, migrated: Database, rabbitmq: RabbitMQ, folder: Path) -> Iterator[Stack]:
    """All processes run and are healthy, without subscriptions."""
    with (
        servers.fresh_database(postgres, migrated) as database,
        servers.fresh_vhost(rabbitmq) as broker,
        working(Stack(folder, database, broker)) as mine,
    ):
        yield mine


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return str(answer.read().decode())


def call(port: int, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    """Status and parsed body, for any status."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, data=data)
    for name, value in (dict(headers or {}) | ({"Content-Type": "application/json"} if data else {})).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        status, text = refused.code, refused.read()
    return status, json.loads(text) if text else None
