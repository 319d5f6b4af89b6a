"""Below pika's public interface: what we use of it must be there, and must do what we rely on."""

import socket
import ssl
from collections.abc import Callable

import pika
import pytest
from pika import BlockingConnection, SelectConnection, frame, spec
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.io_services_utils import _AsyncPlaintextTransport
from pika.exceptions import StreamLostError

from ingestor.delivery.amqp_connection import BatchingConnection, PublishingConnection
from ingestor.delivery.amqp_frames import Confirm


class Socket:
    """Accepts a number of bytes, or fails."""

    def __init__(self, accepts: int | OSError) -> None:
        self._accepts = accepts

    def send(self, data: bytes) -> int:
        if isinstance(self._accepts, OSError):
            raise self._accepts
        return min(self._accepts, len(data))


class Transport:
    def __init__(self, accepts: int | OSError, queued: int = 0) -> None:
        self._sock = Socket(accepts)
        self._queued = queued

    def get_write_buffer_size(self) -> int:
        return self._queued


class Connection(BatchingConnection):
    """Never connected; the test gives it a transport, and sees what would go to pika."""

    def __init__(self, transport: object, ssl_options: pika.SSLOptions | None = None) -> None:
        super().__init__(pika.ConnectionParameters(), internal_connection_workflow=False)
        self.params.ssl_options = ssl_options
        self._transport = transport
        self.given_to_pika: list[bytes] = []
        self.terminated: list[BaseException] = []

    def _adapter_connect_stream(self) -> None:
        """Stays unconnected."""

    def _adapter_emit_data(self, data: bytes) -> None:
        self.given_to_pika.append(data)

    def _terminate_stream(self, error: BaseException) -> None:
        self.terminated.append(error)


def test_the_private_hooks_of_pika_exist():
    assert BatchingConnection._adapter_emit_data is SelectConnection._adapter_emit_data
    assert BatchingConnection._terminate_stream is SelectConnection._terminate_stream
    assert callable(SelectConnection._on_data_available)
    unconnected = Connection(None)
    assert unconnected._frame_buffer == b""
    assert unconnected.bytes_received == 0
    assert "_impl" in BlockingConnection.__init__.__code__.co_names
    assert "_impl" in pika.adapters.blocking_connection.BlockingChannel.__init__.__code__.co_names


def test_the_transport_of_pika_sends_over_the_socket_that_we_use():
    ours, theirs = socket.socketpair()
    loop = IOLoop()
    transport = _AsyncPlaintextTransport(ours, None, pika.adapters.select_connection.SelectorIOServicesAdapter(loop))
    connection = Connection(transport)
    connection.write([b"one", b"two"])
    assert transport._sock is ours
    assert theirs.recv(100) == b"onetwo"
    assert connection.given_to_pika == []
    for each in (ours, theirs, loop):
        each.close()


@pytest.mark.parametrize("accepts", [0, 1, 5])
def test_bytes_that_the_socket_does_not_accept_at_once_go_through_pika(accepts: int):
    connection = Connection(Transport(accepts))
    connection.write([b"three", b"four"])
    assert connection.given_to_pika == [b"threefour"[accepts:]]


@pytest.mark.parametrize(
    "transport",
    [None, Transport(99, queued=1), Transport(ConnectionResetError())],
    ids=["no transport", "bytes queued before", "socket error"],
)
def test_everything_goes_through_pika_where_the_short_path_is_not_possible(transport: object):
    connection = Connection(transport)
    connection.write([b"one", b"two"])
    assert connection.given_to_pika == [b"onetwo"]


def test_a_connection_with_tls_sends_through_pika():
    connection = Connection(Transport(99), pika.SSLOptions(ssl.create_default_context()))
    connection.write([b"secret"])
    assert connection.given_to_pika == [b"secret"]


def test_an_abort_terminates_the_stream_once_with_the_first_reason():
    connection = Connection(None)
    connection.abort("first")
    connection.abort("second")
    [error] = connection.terminated
    assert isinstance(error, StreamLostError)
    assert "first" in str(error)


def ack(tag: int) -> bytes:
    return bytes(frame.Method(1, spec.Basic.Ack(tag, False)).marshal())


@pytest.fixture
def reads() -> tuple[Connection, list[Confirm]]:
    connection, found = Connection(None), list[Confirm]()
    connection.on_confirms = found.extend
    return connection, found


def test_confirms_are_read_at_once_and_counted_for_the_heartbeat(reads: tuple[Connection, list[Confirm]]):
    connection, found = reads
    connection._on_data_available(ack(1) + ack(2))
    assert found == [(1, False), (2, False)]
    assert connection.bytes_received == len(ack(1) + ack(2))
    assert connection._frame_buffer == b""


def test_half_a_confirm_is_left_to_pika_and_so_is_its_rest(reads: tuple[Connection, list[Confirm]]):
    connection, found = reads
    data = ack(1) + ack(2)
    connection._on_data_available(data[:-3])
    assert found == [(1, False)]
    assert connection._frame_buffer == data[len(ack(1)) : -3]
    connection._process_frame = lambda read: None  # pika would hand it to the channel
    connection._on_data_available(data[-3:])
    assert found == [(1, False)], "pika reads the whole second one"
    assert connection._frame_buffer == b""


class Listener:
    """Records what happens on a connection."""

    def __init__(self) -> None:
        self.happened: list[str] = []

    def opened(self) -> None:
        self.happened.append("opened")

    def confirmed(self, confirmed: object) -> None:
        self.happened.append(f"confirmed {confirmed}")

    def refused(self) -> None:
        self.happened.append("refused")

    def returned(self, routing_key: str, message_id: str) -> None:
        self.happened.append(f"returned {routing_key} {message_id}")

    def paused(self, reason: str) -> None:
        self.happened.append(f"paused: {reason}")

    def resumed(self) -> None:
        self.happened.append("resumed")

    def closed(self, reason: str) -> None:
        self.happened.append(f"closed: {reason}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def unreachable() -> pika.ConnectionParameters:
    return pika.ConnectionParameters("127.0.0.1", free_port(), connection_attempts=1, socket_timeout=1)


def test_a_broker_that_cannot_be_reached_is_reported_and_ends_the_run():
    listener = Listener()
    connection = PublishingConnection(unreachable(), listener)
    connection.run()
    assert not connection.is_open
    [closed] = listener.happened
    assert closed.startswith("closed: AMQPConnect")


@pytest.mark.parametrize("schedule", [PublishingConnection.call_soon, None], ids=["soon", "later"])
def test_an_exception_of_a_callback_ends_the_run_and_is_raised(schedule: Callable[..., None] | None):
    listener = Listener()
    connection = PublishingConnection(unreachable(), listener)

    def fail() -> None:
        raise RuntimeError("not foreseen")

    connection.call_soon(fail) if schedule else connection.call_later(0.0, fail)
    with pytest.raises(RuntimeError, match="not foreseen"):
        connection.run()
    assert listener.happened[0] == "closed: RuntimeError: not foreseen"


def test_events_cannot_be_published_before_the_connection_is_open():
    connection = PublishingConnection(unreachable(), Listener())
    with pytest.raises(RuntimeError, match="not open"):
        connection.publish([])


def method(method: object) -> frame.Method:
    return frame.Method(1, method)


def test_the_broker_s_answers_reach_the_listener():
    listener = Listener()
    connection = PublishingConnection(unreachable(), listener)
    connection._answered(method(spec.Basic.Ack(7, True)))
    connection._answered(method(spec.Basic.Nack(8)))
    returned = spec.Basic.Return(312, "NO_ROUTE", "events", "trades.linear.BTCUSDT")
    connection._returned(None, returned, pika.BasicProperties(message_id="id"), b"{}")
    connection._channel_closed(None, "404")
    assert listener.happened == [
        "confirmed [(7, True)]",
        "refused",
        "returned trades.linear.BTCUSDT id",
        "paused: channel closed: 404",
    ]


def test_a_channel_that_closes_with_its_connection_is_not_a_fault():
    listener = Listener()
    connection = PublishingConnection(unreachable(), listener)
    connection.close()
    connection._channel_closed(None, "closing")
    assert listener.happened == []
