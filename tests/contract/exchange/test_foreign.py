"""The real thread of a connection, and an exchange that sends anything."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from common.channels import of_topic
from common.lifecycle import start
from ingestor.bybit.session import Session, Timing
from ingestor.control.gap_store import GapStore
from ingestor.feed.event_stream import EventStreams, StreamSource
from ingestor.feed.feed import Feed
from ingestor.rest.clock import ExchangeClock
from ingestor.sockets.connect_budget import ConnectBudget
from ingestor.sockets.interfaces import Surroundings
from ingestor.sockets.mailbox import Subscribe
from ingestor.sockets.poller import TransportPoller
from ingestor.sockets.transport import Lost, Transport, open_transport
from ingestor.sockets.worker import SocketWorker
from tests.contract.exchange import raw
from tests.contract.exchange.conftest import Events
from tests.kit import foreign
from tests.kit.waiting import eventually


class Exchange:
    """Sends what a test hands it, after each connection has been agreed on."""

    def __init__(self) -> None:
        self.connected = SimpleQueue[socket.socket]()

    def serve(self, connection: socket.socket) -> None:
        raw.upgrade(connection)
        raw.received(connection)  # the subscribe request
        self.connected.put(connection)
        while True:
            raw.received(connection)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@contextmanager
def connecting(serve: raw.Script, topics: Sequence[str], timing: Timing) -> Iterator[Events]:
    """A stream at work, whose events are kept."""
    kept = Events()
    around = Surroundings(
        outbox=kept,
        clocks=ExchangeClock(),
        budget=ConnectBudget(most=10_000),
        changed=lambda: None,
        live=lambda: None,
        subscribed=lambda _: None,
        request_backfill=lambda *_: None,
        clock_doubted=lambda: None,
    )
    feed = Feed("linear", EventStreams(StreamSource("simulator", "01J")).of, GapStore())
    with raw.serving(serve) as server:
        open_session = partial(Session, "linear", timing, time.monotonic())
        connect = partial(open_transport, f"ws://127.0.0.1:{server.port}")
        worker = SocketWorker(7, open_session, connect, TransportPoller(), feed, around)
        running = start(worker)
        worker.mailbox.replace(Subscribe(tuple(of_topic("linear", topic) for topic in topics)))
        yield kept
        running.stop()
        worker.mailbox.replace(Subscribe(()))
        assert running.ended(within_s=15)


@pytest.fixture
def events(exchange: Exchange) -> Iterator[Events]:
    with connecting(exchange.serve, foreign.TOPICS, Timing(pong_within_s=60.0)) as kept:
        yield kept


def failures() -> float:
    return REGISTRY.get_sample_value("wsgw_worker_failures_total", {"worker": "stream linear/7"}) or 0.0


def test_any_frame_is_an_event_or_set_aside_and_the_next_one_comes(exchange: Exchange, events: Events):
    before, sent = failures(), 0
    connection = exchange.connected.get(timeout=20)

    @given(frames=st.lists(foreign.frames.filter(lambda frame: len(frame) < 2**16), min_size=1, max_size=5))
    @budget(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def any_frames(frames: list[bytes]) -> None:
        nonlocal sent
        sent += 1
        last = json.dumps({"topic": foreign.TOPICS[0], "ts": 1, "data": [], "number": sent}).encode()
        connection.sendall(b"".join(raw.frame(each) for each in (*frames, last)))
        eventually(lambda: any(event.body.endswith(last + b"}") for event in events.newest()), 10, "the last one comes")

    any_frames()
    assert failures() == before


@pytest.mark.parametrize("reason", [b"bye\x00", b"\xff\xfe", b"", b"\x00" * 100])
def test_any_words_of_a_close_end_the_connection_and_no_more(exchange: Exchange, events: Events, reason: bytes):
    before = failures()
    for _ in range(2):
        connection = exchange.connected.get(timeout=20)
        connection.sendall(raw.frame(b"\x03\xe8" + reason, opcode=8))
    assert exchange.connected.get(timeout=20), "it connects again"
    assert failures() == before


def reason(transport: Transport) -> str:
    try:
        transport.receive()
    except Lost as lost:
        return str(lost)
    return ""


def test_the_words_of_a_close_are_fit_to_be_stored():
    def serve(connection: socket.socket) -> None:
        raw.upgrade(connection)
        connection.sendall(raw.frame(b"\x03\xe8bye\x00", opcode=8))

    with raw.serving(serve) as server:
        transport = open_transport(f"ws://127.0.0.1:{server.port}")
        found = eventually(lambda: reason(transport), 10, "it is over")
        transport.close()
    assert found == "closed by the exchange: 1000 bye\ufffd"


ANSWERS = (
    b"",
    b"\x00\xff\x00\r\n\r\n",
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: \x01=\r\n\r\n",
    b"HTTP/1.1 429 no\r\nRetry-After: Mon, 01 Jan 0001 00:00:00 GMT\r\nContent-Length: -7\r\n\r\n",
    b"HTTP/1.1 503 no\r\nRetry-After: \xb2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n<html>please sign in</html>",
)


def test_any_answer_to_the_handshake_is_a_connection_that_was_not_made():
    before, answered, answers = failures(), threading.Event(), list(ANSWERS)

    def serve(connection: socket.socket) -> None:
        raw.request(connection)
        if answers:
            connection.sendall(answers.pop())
        else:
            answered.set()
        connection.close()

    with connecting(serve, foreign.TOPICS[:1], Timing(first_wait_s=0.0, longest_wait_s=0.0)):
        assert answered.wait(30)
    assert failures() == before
