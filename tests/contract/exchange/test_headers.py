"""The configured HTTP headers, from the settings to the wire."""

import socket
from queue import SimpleQueue

from common.channels import of_topic
from ingestor.__main__ import build_worker
from ingestor.settings import Settings
from ingestor.sockets.mailbox import Subscribe
from tests.contract.exchange.conftest import World
from tests.contract.exchange.raw import request, serving


def test_go_with_the_handshake_of_a_worker(world: World):
    heads: SimpleQueue[bytes] = SimpleQueue()

    def script(connection: socket.socket) -> None:
        heads.put(request(connection))

    with serving(script) as server:
        given = {"BYBIT_WS_URL": f"ws://127.0.0.1:{server.port}", "BYBIT_HEADERS": "X-Access=a=b"}
        settings = Settings.from_env(given | {"POSTGRES_PASSWORD": "p", "RABBITMQ_PASSWORD": "r"})
        worker = build_worker(settings, world.account, world.streams, world.gaps, world.around, "linear", 0)
        worker.mailbox.replace(Subscribe((of_topic("linear", "tickers.BTCUSDT"),)))
        world.sockets.add(worker, worker.wake)
        assert b"X-Access: a=b" in heads.get(timeout=5).split(b"\r\n")
