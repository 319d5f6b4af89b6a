"""The api as it is deployed: gunicorn with its configuration."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kit import children
from tests.kit.servers import Database, free_port
from tests.kit.waiting import eventually

ROOT = Path(__file__).parents[3]
KEY = "the-administrators-key"
_RATES = {"WS_GATEWAY_REQUESTS_PER_KEY": "1000000", "WS_GATEWAY_REQUESTS_PER_ADDRESS": "1000000"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(slots=True)
class Served:
    port: int
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def ask(
        self, method: str, path: str, sent: Any = None, headers: Mapping[str, str] | None = None, within_s: float = 30
    ) -> Answer:
        """On a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=within_s)
        given = {"X-API-Key": KEY} | ({"Content-Type": "application/json"} if sent is not None else {})
        try:
            body = None if sent is None else json.dumps(sent)
            connection.request(method, path, body, {**given, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read().decode())
        finally:
            connection.close()

    def say(self, raw: bytes, within_s: float = 30) -> bytes:
        """What comes back for these bytes until the other side closes."""
        with self.connect(within_s) as line:
            line.sendall(raw)
            line.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: line.recv(65536), b""))

    def connect(self, within_s: float = 30) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=within_s)

    def logged(self) -> list[dict[str, Any]]:
        """The JSON lines so far."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def environment(database: Database, port: int, **more: str) -> dict[str, str]:
    unused = {"RABBITMQ_PASSWORD": "unused", "RABBITMQ_HOST": "127.0.0.1", "RABBITMQ_PORT": "1"}
    ours = {"WS_GATEWAY_API_KEY": KEY, "WS_GATEWAY_PORT": str(port)}
    return {"PATH": os.environ["PATH"]} | database.environ() | unused | ours | _RATES | more


@contextmanager
def served(database: Database, folder: Path, **more: str) -> Iterator[Served]:
    """Until the end of the block; all its workers are gone afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "api.wsgi:app"]
    log = folder / f"api-{port}.log"
    with log.open("wb") as output:
        process = children.start(command, cwd=ROOT, env=environment(database, port, **more), stdout=output)
    found = Served(port, log, process)
    try:
        eventually(lambda: _ended(found) or found.ask("GET", "/health/live").status == 200, 30, "the api answers")
        assert not _ended(found), log.read_text()[-2000:]
        yield found
    finally:
        if process.poll() is None:
            found.stop()


def _ended(found: Served) -> bool:
    return found.process.poll() is not None
