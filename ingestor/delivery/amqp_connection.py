"""A connection for publishing many small messages with confirms: one send per burst, one call per read of confirms."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import pika
from pika import SelectConnection
from pika.adapters.select_connection import IOLoop
from pika.exceptions import StreamLostError
from pika.spec import Basic

from common import amqp
from common.events import Event
from ingestor.delivery.amqp_frames import Confirm, FrameEncoder, confirms


class ConnectionListener(Protocol):
    """What happens on a connection, in the thread that runs it."""

    def opened(self) -> None:
        """The channel is open and in confirm mode."""

    def confirmed(self, confirmed: Sequence[Confirm]) -> None: ...

    def refused(self) -> None:
        """The broker answered a message with a nack."""

    def returned(self, routing_key: str, message_id: str) -> None:
        """A message reached no queue; its confirm follows (rabbitmq.com/docs/confirms)."""

    def paused(self, reason: str) -> None:
        """Nothing can be published for now."""

    def resumed(self) -> None: ...

    def closed(self, reason: str) -> None:
        """The connection ended; called at least once, also when it could not be opened."""


class BatchingConnection(SelectConnection):  # type: ignore[misc]
    """pika sends method, header and body of each message on their own, each after a check whether the socket is ready,
    and handles a confirm in three steps.

    The hooks below pika's sending, reading and closing are private, so tests fail when a release of pika moves them.
    """

    on_confirms: Callable[[Sequence[Confirm]], None] | None = None
    """Receives the acks that begin a read; acks behind other frames arrive through the channel."""

    _aborted = False

    def write(self, frames: Iterable[bytes]) -> None:
        """Send whole frames that were encoded elsewhere."""
        data = b"".join(frames)
        sent = self._sent_at_once(data)
        if sent < len(data):
            self._adapter_emit_data(data[sent:])

    def abort(self, reason: str) -> None:
        """Close the socket without AMQP's handshake; the callbacks receive the reason, once."""
        if not self._aborted:
            self._aborted = True
            self._terminate_stream(StreamLostError(reason))

    def _sent_at_once(self, data: bytes) -> int:
        """How many bytes the socket accepts when nothing is queued before them; pika handles errors at its next use."""
        transport = self._transport
        if self.params.ssl_options is not None or transport is None or transport.get_write_buffer_size():
            return 0
        try:
            return int(transport._sock.send(data))
        except OSError:
            return 0

    def _on_data_available(self, data_in: bytes) -> None:
        used = 0
        if self.on_confirms is not None and not self._frame_buffer:
            found, used = confirms(data_in)
            self.bytes_received += used  # pika's heartbeat check counts them
            if found:
                self.on_confirms(found)
        if used < len(data_in):
            super()._on_data_available(data_in[used:])


class PublishingConnection:
    """One connection with one channel in confirm mode, and the event loop that serves it."""

    def __init__(self, parameters: pika.ConnectionParameters, listener: ConnectionListener) -> None:
        self._parameters = parameters
        self._listener = listener
        self._loop = IOLoop()
        self._connection: BatchingConnection | None = None
        self._channel: Any = None
        self._encoder: FrameEncoder | None = None
        self._closing = False

    def run(self) -> None:
        """Connect and serve until the connection ends. An exception of the listener ends it too, and is raised."""
        try:
            self._connection = self._connecting()
            self._loop.start()
        except Exception as error:
            self._listener.closed(_reason(error))
            self.abort("internal error")
            raise
        finally:
            self._loop.close()

    @property
    def is_open(self) -> bool:
        return self._channel is not None and bool(self._channel.is_open)

    def publish(self, events: Iterable[Event]) -> None:
        """Send persistent messages with the mandatory flag, in this sequence; the channel must be open."""
        if self._connection is None or self._encoder is None:
            raise RuntimeError("not open")
        frames: list[bytes] = []
        for event in events:
            self._encoder.publish(event, frames)
        self._connection.write(frames)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._loop.call_later(delay_s, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """From any thread."""
        self._loop.add_callback_threadsafe(callback)

    def close(self) -> None:
        """Close with AMQP's handshake."""
        self._closing = True
        if self._connection is not None:
            self._connection.close()

    def abort(self, reason: str) -> None:
        """Close at once."""
        if self._connection is not None and not self._connection.is_closed:
            self._connection.abort(reason)

    def _connecting(self) -> BatchingConnection:
        connection = BatchingConnection(
            self._parameters,
            on_open_callback=self._connection_opened,
            on_open_error_callback=lambda _, error: self._ended(error),
            on_close_callback=lambda _, error: self._ended(error),
            custom_ioloop=self._loop,
            internal_connection_workflow=True,
        )
        connection.add_on_connection_blocked_callback(lambda *_: self._listener.paused("blocked by the broker"))
        connection.add_on_connection_unblocked_callback(lambda *_: self._listener.resumed())
        return connection

    def _connection_opened(self, connection: BatchingConnection) -> None:
        connection.channel(on_open_callback=partial(self._channel_opened, connection))

    def _channel_opened(self, connection: BatchingConnection, channel: Any) -> None:
        self._channel = channel
        self._encoder = FrameEncoder(channel.channel_number, connection.params.frame_max)
        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._answered, callback=lambda _: self._listener.opened())
        connection.on_confirms = self._listener.confirmed

    def _channel_closed(self, _channel: Any, error: object) -> None:
        if not self._closing:
            self._listener.paused(f"channel closed: {error}")
            self.abort("channel closed")

    def _answered(self, frame: Any) -> None:
        method = frame.method
        if isinstance(method, Basic.Nack):
            self._listener.refused()
        else:
            self._listener.confirmed([(method.delivery_tag, method.multiple)])

    def _returned(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        self._listener.returned(method.routing_key, properties.message_id)

    def _ended(self, error: object) -> None:
        self._listener.closed(_reason(error))
        self._loop.stop()


def _reason(error: object) -> str:
    return amqp.reason(error) if error else "closed"
