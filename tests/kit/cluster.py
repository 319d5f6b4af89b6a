"""A RabbitMQ cluster of three nodes on one machine."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from deploy.servers import rabbitmq
from deploy.servers.launching import clean_environment, program
from tests.kit import children
from tests.kit.servers import Broker, free_port
from tests.kit.waiting import eventually

_START_WITHIN_S = 90.0
_BINARIES = "/usr/lib/rabbitmq/bin"


@dataclass(slots=True)
class Node:
    """One node; it finds the others by the name server of the cluster."""

    name: str
    server: rabbitmq.RabbitMQServer
    process: "subprocess.Popen[bytes] | None" = None

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@dataclass(slots=True)
class Cluster:
    """Three nodes: `start` the cluster, kill and start single nodes, `stop`."""

    folder: Path
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    nodes: list[Node] = field(default_factory=list)
    _epmd_port: int = field(default_factory=free_port)
    _epmd: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        self._epmd = children.start([program("epmd"), "-address", "127.0.0.1", "-port", str(self._epmd_port)])
        self.nodes = [Node(f"n{n}@localhost", self._server(n)) for n in range(3)]
        for node in self.nodes:  # the first one forms the cluster, the others join it
            self.start_node(node)
            eventually(lambda node=node: self.joined(node), _START_WITHIN_S, f"{node.name} is in the cluster")  # type: ignore[misc]

    def start_node(self, node: Node) -> None:
        server = node.server
        server.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        rabbitmq._write_files(server)
        peers = "".join(
            f"cluster_formation.classic_config.nodes.{n} = {each.name}\n" for n, each in enumerate(self.nodes)
        )
        with (server.data / "rabbitmq.conf").open("a") as config:
            config.write(f"cluster_formation.peer_discovery_backend = classic_config\n{peers}")
        cookie = server.data / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text("A" * 20)
            cookie.chmod(0o400)
        variables = rabbitmq.variables(server) | {"RABBITMQ_NODENAME": node.name}
        with (self.folder / f"{node.name}.log").open("ab") as log:
            node.process = children.start(
                [program("rabbitmq-server", _BINARIES)],
                env=clean_environment(os.environ, **variables),
                cwd=server.data,
                stdout=log,
                own_session=True,
            )

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(10)

    def broker(self, node: Node) -> Broker:
        server = node.server
        return Broker("127.0.0.1", server.port, server.management_port, server.user, self.password, "/")

    def environ(self) -> dict[str, str]:
        """The settings of our processes for this cluster, with all of its nodes."""
        hosts = ",".join(f"127.0.0.1:{node.server.port}" for node in self.nodes)
        return self.broker(self.nodes[0]).environ() | {"RABBITMQ_HOST": hosts}

    def joined(self, node: Node) -> bool:
        assert node.process is not None
        assert node.process.poll() is None, (self.folder / f"{node.name}.log").read_text()[-2000:]
        with contextlib.closing(socket.create_connection(("127.0.0.1", node.server.port), timeout=5)):
            pass  # pika logs an error for each refusal
        self.broker(node).connect().close()
        expected = self.nodes.index(node) + 1
        running = [each for each in self.broker(node).manage("GET", "nodes") if each["running"]]
        return len(running) >= expected

    def _server(self, number: int) -> rabbitmq.RabbitMQServer:
        return rabbitmq.RabbitMQServer(
            data=self.folder / f"n{number}",
            port=free_port(),
            management_port=free_port(),
            dist_port=free_port(),
            epmd_port=self._epmd_port,
            user="ws-gateway",
            password=self.password,
            vhost="/",
        )
