"""A thousand topics on one connection, which breaks."""

import json
import socket
from contextlib import suppress
from functools import partial
from typing import Any

from common.channels import of_topic
from common.lifecycle import WorkerGroup, start
from ingestor.bybit.endpoints import TOPICS_PER_REQUEST
from ingestor.bybit.session import Session, Timing
from ingestor.control.gap_store import GapStore
from ingestor.feed.event_stream import EventStreams, StreamSource
from ingestor.feed.feed import Feed
from ingestor.rest.clock import ExchangeClock
from ingestor.sockets.allocation import Allocation
from ingestor.sockets.connect_budget import ConnectBudget
from ingestor.sockets.interfaces import Surroundings
from ingestor.sockets.poller import TransportPoller
from ingestor.sockets.pool import ConnectionPool
from ingestor.sockets.transport import open_transport
from ingestor.sockets.worker import SocketWorker
from tests.contract.exchange.conftest import Events
from tests.contract.exchange.raw import frame, received, serving, upgrade
from tests.kit.waiting import eventually

TEXT = 1
TOPICS = [f"tickers.S{number:03}USDT" for number in range(1000)]


class Exchange:
    """Acknowledges each request, and sends a ticker of each topic first, as linear does."""

    def __init__(self) -> None:
        self.requests: list[list[list[str]]] = []  # of each connection
        self._connection: socket.socket | None = None

    def serve(self, connection: socket.socket) -> None:
        upgrade(connection)
        self._connection = connection
        requests: list[list[str]] = []
        self.requests.append(requests)
        while (message := received(connection))[0] == TEXT:
            request: dict[str, Any] = json.loads(message[1])
            reply = {"success": True, "ret_msg": "", "conn_id": "c", "req_id": request["req_id"], "op": request["op"]}
            if request["op"] == "subscribe":
                requests.append(request["args"])
                connection.sendall(b"".join(frame(ticker(topic)) for topic in request["args"]))
            connection.sendall(frame(json.dumps(reply).encode()))

    def hang_up(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


def ticker(topic: str) -> bytes:
    return json.dumps({"topic": topic, "type": "snapshot", "data": {"symbol": "S"}, "cs": 1, "ts": 1}).encode()


def test_all_of_them_are_asked_for_again_in_as_few_requests_as_may_be():
    exchange, events = Exchange(), Events()
    streams, gaps = EventStreams(StreamSource("simulator", "01J")), GapStore()
    around = Surroundings(
        outbox=events, clocks=ExchangeClock(), budget=ConnectBudget(), changed=lambda: None, live=lambda: None,
        subscribed=lambda _: None, request_backfill=lambda *_: None, clock_doubted=lambda: None,
    )  # fmt: skip

    sockets = WorkerGroup("sockets", grace_s=15.0)
    start(sockets)
    with serving(exchange.serve) as server:
        url = f"ws://127.0.0.1:{server.port}/v5/public/linear"
        connect = partial(open_transport, url)

        def open_worker(endpoint: str, number: int) -> SocketWorker:
            feed = Feed(endpoint, streams.of, gaps)
            return SocketWorker(
                number, lambda: Session(endpoint, Timing(), 0.0), connect, TransportPoller(), feed, around
            )

        pool = ConnectionPool()
        allocation = Allocation(pool, open_worker, lambda worker: sockets.add(worker, worker.wake))
        try:
            allocation.want([of_topic("linear", topic) for topic in TOPICS])

            def all_live() -> bool:
                [seen] = pool.observed()
                return len(seen.topics) == 1000 and all(topic.state == "live" for topic in seen.topics)

            eventually(all_live, 10, "all are live")
            exchange.hang_up()
            eventually(lambda: len(exchange.requests) == 2, 10, "it connects again")
            eventually(lambda: sum(map(len, exchange.requests[1])) == 1000 and all_live(), 5, "all are live again")
        finally:
            sockets.stop()
            sockets.ended(15)
    for requests in exchange.requests:
        assert [topic for request in requests for topic in request] == TOPICS
        assert {len(request) for request in requests} == {TOPICS_PER_REQUEST}
    received: dict[str, list[str]] = {}
    for event in events.all():
        received.setdefault(event["subject"], []).append(event["data"].get("state", "live"))
    assert received == {topic: ["live", "open", "closed", "live"] for topic in TOPICS}
