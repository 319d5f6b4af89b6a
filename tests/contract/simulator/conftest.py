"""Simulators as processes of their own, and clients to talk to them.

`simulator`        one for the whole session
`start_simulator`  further ones, with arguments of the test's choice
`open_socket`      plain WebSocket connections that are closed after the test
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from tests.kit import children
from tests.kit.servers import free_port

ROOT = Path(__file__).resolve().parents[3]
WITHIN_S = 10.0


@dataclass(frozen=True)
class Simulator:
    port: int
    process: subprocess.Popen[str]

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **query: Any) -> Any:
        return requests.get(self.rest_url + path, params=query, timeout=WITHIN_S).json()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(WITHIN_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status


class Peer:
    """A plain client that waits for messages."""

    def __init__(self, url: str) -> None:
        self.socket = websocket.create_connection(url, timeout=WITHIN_S)

    def send(self, message: Any) -> None:
        self.socket.send(message if isinstance(message, str) else json.dumps(message))

    def subscribe(self, *topics: str, **more: Any) -> None:
        self.send({**more, "op": "subscribe", "args": list(topics)})

    def text(self) -> str:
        received = self.socket.recv()
        assert isinstance(received, str), received
        return received

    def read(self) -> Any:
        return json.loads(self.text())

    def until(self, wanted: Callable[[Any], object]) -> list[Any]:
        """Everything up to and with the first wanted message."""
        deadline = time.monotonic() + WITHIN_S
        seen = [self.read()]
        while not wanted(seen[-1]):
            assert time.monotonic() < deadline, f"not within {WITHIN_S} s; last was {seen[-1]}"
            seen.append(self.read())
        return seen

    def reply(self) -> Any:
        return self.until(lambda message: "topic" not in message)[-1]

    def ask(self, message: Any) -> Any:
        self.send(message)
        return self.reply()

    def topic(self, name: str) -> Any:
        """The next message of a topic."""
        return self.until(lambda message: message.get("topic") == name)[-1]

    def close(self) -> None:
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self.socket.close(timeout=1)


def started(*arguments: str, **env: str) -> Simulator:
    port = free_port()
    process = children.start(
        [sys.executable, "-m", "simulator", "--port", str(port), *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert '"event": "listening"' in first, first + process.stdout.read()
    return Simulator(port, process)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    running = started("--fill-every", "0.3")
    yield running
    assert running.stop() == 0


@pytest.fixture
def start_simulator() -> Iterator[Callable[..., Simulator]]:
    running: list[Simulator] = []

    def start(*arguments: str, **env: str) -> Simulator:
        running.append(started(*arguments, **env))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.stop()


@pytest.fixture
def open_socket() -> Iterator[Callable[[str], Peer]]:
    peers: list[Peer] = []

    def opened(url: str) -> Peer:
        peers.append(Peer(url))
        return peers[-1]

    yield opened
    for peer in peers:
        peer.close()
