"""Private PostgreSQL and RabbitMQ servers for tests, started by the launchers that `make run` uses."""

import base64
import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pika
import psycopg2

from deploy.run.processes import family_of, gone, send
from deploy.servers import nginx, postgres, rabbitmq
from tests.kit import children
from tests.kit.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 30.0
_PORTS = range(14000, 15000)  # below 32768: above, a retrying client can connect to itself
_held: list[socket.socket] = []


def free_port() -> int:
    """A port without a listener, reserved against other test sessions on this machine while this process runs."""
    for candidate in random.sample(_PORTS, len(_PORTS)):
        if claimed(candidate):
            return candidate
    raise AssertionError(f"no free port in {_PORTS}")


def claimed(port: int) -> bool:
    """Whether the port is free; it is reserved from now on."""
    claim = socket.socket(socket.AF_UNIX)
    with socket.socket() as probe:
        try:
            claim.bind(f"\0ws-gateway-test-port-{port}")
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            return False
    _held.append(claim)
    return True


class Server:
    """One server process in a private folder, on ports that stay the same through stop and start.

    Start it from the main thread only: it is on a leash that ends with the thread that started it, so that
    a killed test run leaves nothing behind.
    """

    host = "127.0.0.1"
    module: str
    stop_signal: signal.Signals

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = secrets.token_urlsafe(12) + "'@:/ %ü"  # special characters, so that every URL is quoted
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until clients can connect."""
        self.begin()
        self.wait_until_ready()

    def begin(self) -> None:
        """Start without waiting."""
        if self.running:
            return
        with open(self.folder / "server.log", "ab") as log:
            self._process = children.start(
                [sys.executable, "-m", self.module],
                env={"PATH": os.environ["PATH"]} | self.launch_environment(),
                cwd=ROOT,
                stdout=log,
                own_session=True,
            )

    def wait_until_ready(self) -> None:
        def decided() -> bool:
            if self.running:
                self.probe()
            return True

        eventually(decided, _START_WITHIN_S, f"{self.module} serves clients")
        assert self.running, f"{self.module} ended: {self.log()[-2000:]}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def stop(self) -> None:
        """Stop the server regularly; its data stays."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._process = None

    def kill(self) -> None:
        """SIGKILL to all of its processes at once; its data stays."""
        if self._process is None:
            return
        family = self.processes()
        send(family, signal.SIGKILL)
        self._process.wait(_STOP_WITHIN_S)
        self._process = None
        assert gone(family, _STOP_WITHIN_S), "killed processes are still there"

    def pause(self) -> None:
        """SIGSTOP to all of its processes: connections stay open without a response."""
        send(self.processes(), signal.SIGSTOP)  # the parent first, so that no new child escapes

    def resume(self) -> None:
        send(self.processes(), signal.SIGCONT)

    def processes(self) -> list[int]:
        return family_of(self.pid) if self.running else []

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def launch_environment(self) -> dict[str, str]:
        raise NotImplementedError

    def probe(self) -> None:
        """Raise an exception while clients cannot connect."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Database:
    """One database on a PostgreSQL server, and how to reach it."""

    host: str
    port: int
    user: str
    password: str
    name: str

    def url(self) -> str:
        return f"postgresql://{quote(self.user, '')}:{quote(self.password, '')}@{self.host}:{self.port}/{self.name}"

    def environ(self) -> dict[str, str]:
        """The settings of our processes for this database, whatever the surroundings of the tests set."""
        return {
            "DATABASE_URL": "",
            "POSTGRES_HOST": self.host,
            "POSTGRES_PORT": str(self.port),
            "POSTGRES_USER": self.user,
            "POSTGRES_PASSWORD": self.password,
            "POSTGRES_DB": self.name,
        }

    def connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(self.url(), connect_timeout=5, gssencmode="disable")

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement outside a transaction."""
        with contextlib.closing(self.connect()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []


class Postgres(Server):
    module = "deploy.servers.postgres"
    stop_signal = signal.SIGINT
    user = "postgres"  # the superuser, so that tests may create databases and end other sessions
    database = "postgres"

    def url(self, database: str = database) -> str:
        return self.on(database).url()

    def on(self, database: str = database) -> Database:
        return Database(self.host, self.port, self.user, self.password, database)

    def launch_environment(self) -> dict[str, str]:
        return self.on().environ() | {"PGDATA": str(self.folder / "data")}

    def probe(self) -> None:
        self.on().execute("SELECT 1")


@dataclass(frozen=True, slots=True)
class Broker:
    """One vhost on a RabbitMQ server, and how to reach it."""

    host: str
    port: int
    management_port: int
    user: str
    password: str
    vhost: str

    def url(self) -> str:
        secret = f"{quote(self.user, '')}:{quote(self.password, '')}"
        return f"amqp://{secret}@{self.host}:{self.port}/{quote(self.vhost, '')}"

    def environ(self) -> dict[str, str]:
        """The settings of our processes for this vhost, whatever the surroundings of the tests set."""
        return {
            "RABBITMQ_URL": "",
            "RABBITMQ_HOST": self.host,
            "RABBITMQ_PORT": str(self.port),
            "RABBITMQ_USER": self.user,
            "RABBITMQ_PASSWORD": self.password,
            "RABBITMQ_VHOST": self.vhost,
            "RABBITMQ_MANAGEMENT_PORT": str(self.management_port),
        }

    def connect(self) -> pika.BlockingConnection:
        return pika.BlockingConnection(pika.URLParameters(self.url()))

    def manage(self, method: str, path: str, body: Mapping[str, object] | None = None, within_s: float = 10.0) -> Any:
        """One call of the management API, for example `manage("GET", "queues")`."""
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        call = urllib.request.Request(
            f"http://{self.host}:{self.management_port}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(call, timeout=within_s) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def create(self) -> None:
        self.manage("PUT", f"vhosts/{quote(self.vhost, '')}")
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        self.manage("PUT", f"permissions/{quote(self.vhost, '')}/{quote(self.user, '')}", rights)

    def delete(self) -> None:
        self.manage("DELETE", f"vhosts/{quote(self.vhost, '')}", within_s=60.0)  # of 16,000 bindings, each synced


class RabbitMQ(Server):
    module = "deploy.servers.rabbitmq"
    stop_signal = signal.SIGTERM
    user = "ws-gateway"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.management_port = free_port()
        self.private_ports = (free_port(), free_port())  # of Erlang: distribution, epmd

    def url(self, vhost: str = "/") -> str:
        return self.on(vhost).url()

    def on(self, vhost: str = "/") -> Broker:
        return Broker(self.host, self.port, self.management_port, self.user, self.password, vhost)

    def launch_environment(self) -> dict[str, str]:
        return self.on().environ() | {
            "RABBITMQ_DATA": str(self.folder / "data"),
            "RABBITMQ_MANAGEMENT_PORT": str(self.management_port),
            "RABBITMQ_DIST_PORT": str(self.private_ports[0]),
            "ERL_EPMD_PORT": str(self.private_ports[1]),
        }

    def probe(self) -> None:
        with contextlib.closing(socket.create_connection((self.host, self.port), timeout=5)):
            pass  # pika logs an error for each refusal
        self.on().connect().close()
        self.on().manage("GET", "overview")


class GivenRabbitMQ:
    """An existing broker, which tests do not stop."""

    running = True

    def __init__(self, url: str, management_port: int = 15672) -> None:
        """`url` as amqp://user:password@host:port, of a user who may make vhosts through the management plugin."""
        found = urlsplit(url)
        self._broker = Broker(
            host=found.hostname or "127.0.0.1",
            port=found.port or 5672,
            management_port=management_port,
            user=unquote(found.username or "guest"),
            password=unquote(found.password or "guest"),
            vhost="/",
        )

    def on(self, vhost: str = "/") -> Broker:
        return replace(self._broker, vhost=vhost)


def installed(module: str) -> bool:
    return {"postgres": postgres.installed, "rabbitmq": rabbitmq.installed, "nginx": nginx.installed}[module]()


def migrate(database: Database) -> None:
    """Bring a database to the newest schema, the way `make run` does."""
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        env=dict(os.environ) | database.environ(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def fresh_database(server: Postgres, template: Database) -> Iterator[Database]:
    """A copy of the template (0.1 s), dropped afterwards even with open connections."""
    mine = replace(template, name=f"t_{secrets.token_hex(6)}")
    server.on().execute(f"CREATE DATABASE {mine.name} TEMPLATE {template.name}")
    try:
        yield mine
    finally:
        if server.running:
            server.on().execute(f"DROP DATABASE IF EXISTS {mine.name} WITH (FORCE)")


@contextlib.contextmanager
def fresh_vhost(server: RabbitMQ | GivenRabbitMQ) -> Iterator[Broker]:
    """A vhost of its own, gone afterwards with all its queues."""
    mine = server.on(f"t/{secrets.token_hex(6)}")
    mine.create()
    try:
        yield mine
    finally:
        if server.running:
            mine.delete()
