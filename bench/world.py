"""Private servers for all measurements, and a sandbox on them for each measurement."""

import random
import shutil
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.frames import topics
from bench.meters import Meter
from bench.processes import ChildProcess, ControlledProcess
from common import database, settings
from common.channels import Channel, of_topic
from common.settings import Environment
from common.tables import subscriptions
from common.tables.subscriptions import Caps
from common.topology import service_queue
from tests.kit import servers
from tests.kit.servers import Broker, Database, Postgres, RabbitMQ
from tests.kit.waiting import eventually

_PORTS = range(19000, 20000)  # below 32768: above, a retrying client can connect to itself
_held: list[socket.socket] = []
_CAPS = Caps(1000, 10_000)
_LIVE_WITHIN_S = 30.0


def free_port() -> int:
    """A port without a listener, reserved against other benches on this machine while this process runs."""
    for port in random.sample(_PORTS, len(_PORTS)):
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            try:
                claim.bind(f"\0ws-gateway-bench-port-{port}")
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
        _held.append(claim)
        return port
    raise RuntimeError("no free port from 19000 to 19999")


def channels() -> list[Channel]:
    return [of_topic("linear", topic) for topic in topics()]


def queues_of(service: str) -> list[str]:
    """The queues of a service, one per event class."""
    return sorted({service_queue(channel.channel_type, service) for channel in channels()})


@dataclass(slots=True)
class World:
    """The servers and the sender that all measurements share."""

    folder: Path
    rabbitmq: RabbitMQ
    postgres: Postgres
    template: Database
    sender: ControlledProcess
    sender_port: int
    first: int = 0  # the next unused number of a frame

    @property
    def websocket(self) -> str:
        return f"ws://127.0.0.1:{self.sender_port}/v5/public/linear"

    def held(self) -> int:
        """Number of topics that are subscribed at the sender."""
        return len(self.sender.request({"do": "status"}, 5)["topics"])

    def broker_meter(self) -> Meter:
        """The node, not its launcher or helpers: RabbitMQ runs in the process that we started."""
        return Meter(self.rabbitmq.pid)

    @contextmanager
    def sandbox(self, services: Sequence[str] = ("bench",), class_queues: str = "none") -> Iterator["Sandbox"]:
        """A vhost and a database of its own, with these services' subscriptions for every topic of the mix."""
        with ExitStack() as stack:
            broker = stack.enter_context(servers.fresh_vhost(self.rabbitmq))
            rows = stack.enter_context(servers.fresh_database(self.postgres, self.template))
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            _subscription(rows, services)
            sandbox = Sandbox(self, broker, rows, folder, tuple(services), class_queues)
            stack.callback(sandbox.close)
            yield sandbox


@dataclass(slots=True)
class Sandbox:
    """A vhost, a database and a folder for one measurement, and the processes that use them."""

    world: World
    broker: Broker
    database: Database
    folder: Path
    services: tuple[str, ...]
    class_queues: str
    _metrics_port: int = field(default_factory=free_port)
    _running: list[ChildProcess] = field(default_factory=list)
    _consumer: ControlledProcess | None = None

    def ingestor(self, *, private: bool = False) -> ChildProcess:
        """Start the real ingestor and wait until all topics are live; with `private`, the wallet too."""
        metrics_port = self._metrics_port = free_port()
        origin = f"127.0.0.1:{self.world.sender_port}"
        env = {
            **self.database.environ(),
            **self.broker.environ(),
            "BYBIT_ENVIRONMENT": "simulator",
            "BYBIT_WS_URL": f"ws://{origin}",
            "BYBIT_REST_URL": f"http://{origin}",
            "WS_GATEWAY_SPOOL_DIR": str(self.folder / "spool"),
            "WS_GATEWAY_METRICS_PORT": str(metrics_port),
            "WS_GATEWAY_CLASS_QUEUES": self.class_queues,
        }
        if private:
            env |= {"BYBIT_API_KEY": "bench", "BYBIT_API_SECRET": "bench"}
        ingestor = self._start(ChildProcess("ingestor", ["-m", "ingestor"], env, self.folder))
        eventually(lambda: self._live(ingestor) and self._connected(), _LIVE_WITHIN_S, "the ingestor is live")
        if private:
            eventually(
                lambda: self.world.sender.request({"do": "status"}, 5)["wallet"], _LIVE_WITHIN_S, "the wallet is live"
            )
        return ingestor

    def bridge(self, name: str) -> ChildProcess:
        """Start one of the bridges; the queues must exist already."""
        arguments = ["-m", f"bench.bridges.{name}", self.world.websocket, self.broker.url()]
        bridge = self._start(ChildProcess(name, arguments, {}, self.folder))
        eventually(lambda: self._live(bridge), _LIVE_WITHIN_S, f"{name} has subscribed")
        return bridge

    def consumer(self) -> ControlledProcess:
        if self._consumer is None:
            self._consumer = ControlledProcess("consumer", ["-m", "bench.consumer"], self.broker.environ(), self.folder)
            self._running.append(self._consumer)
        return self._consumer

    def stop(self, child: ChildProcess) -> None:
        child.stop()
        self._running.remove(child)

    def close(self) -> None:
        for child in reversed(self._running):
            child.kill()

    def lane(self, what: str) -> int:
        """A metric of the market lane: accepted, confirmed, dropped, spooled or in_flight; -1 when missing."""
        return int(self._metrics().get(f'wsgw_outbox_events{{lane="market",what="{what}"}}', -1))

    def _start(self, child: ChildProcess) -> ChildProcess:
        self._running.append(child)
        return child

    def _live(self, child: ChildProcess) -> bool:
        if not child.running:
            raise RuntimeError(f"{child.name} ended: {child.log()[-2000:]}")
        return self.world.held() == len(topics())

    def _connected(self) -> bool:
        return self._metrics().get("wsgw_broker_connected") == 1

    def _metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=5) as reply:
            text = reply.read().decode()
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@contextmanager
def world() -> Iterator[World]:
    """Start the servers and the sender; all of it is removed afterwards."""
    for name in ("postgres", "rabbitmq"):
        if not servers.installed(name):
            sys.exit(f"{name} is not installed: make packages installs it")
    folder = Path(tempfile.mkdtemp(prefix="ws-gateway-bench-"))
    folder.chmod(0o755)  # Postgres runs as another user
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        rabbitmq, postgres = RabbitMQ(_made(folder / "rabbitmq")), Postgres(_made(folder / "postgres"))
        rabbitmq.port = free_port()
        rabbitmq.management_port = free_port()
        postgres.port = free_port()
        rabbitmq.private_ports = (free_port(), free_port())
        for server in (rabbitmq, postgres):
            server.begin()
            stack.callback(server.kill)
        postgres.wait_until_ready()
        template = postgres.on("bench")
        postgres.on().execute("CREATE DATABASE bench")
        servers.migrate(template)
        sender_port = free_port()
        sender = ControlledProcess("sender", ["-m", "bench.sender", "--port", str(sender_port)], {}, folder)
        stack.callback(sender.kill)
        rabbitmq.wait_until_ready()
        yield World(folder, rabbitmq, postgres, template, sender, sender_port)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o755)
    return folder


def _subscription(rows: Database, services: Sequence[str]) -> None:
    engine = database.engine(settings.postgres(Environment(rows.environ())), "bench")
    try:
        with engine.begin() as connection:
            for service in services:
                known = subscriptions.counted(connection)
                subscriptions.add(connection, channels(), service, None, None, _CAPS, known)
    finally:
        engine.dispose()


def versions(one: World) -> tuple[str, str]:
    """The versions of RabbitMQ and PostgreSQL."""
    [(version,)] = one.postgres.on().execute("SHOW server_version")
    return str(one.rabbitmq.on().manage("GET", "overview")["rabbitmq_version"]), str(version).split()[0]
