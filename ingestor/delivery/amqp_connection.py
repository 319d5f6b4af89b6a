"""A pika connection for many small messages: a burst is one send, and a read full of confirms one call."""

from collections.abc import Callable, Iterable, Sequence

from pika import SelectConnection
from pika.exceptions import StreamLostError

from ingestor.delivery.amqp_frames import Confirm, confirms


class BatchingConnection(SelectConnection):  # type: ignore[misc]
    """pika sends method, header and body of each message on their own, each after asking whether the socket takes it,
    and looks a confirm up three times.

    The hooks below pika's sending, reading and closing are private, so tests fail when a release of pika moves them.
    """

    on_confirms: Callable[[Sequence[Confirm]], None] | None = None
    """Told of the broker's acks where a read brings nothing else before them; all others come through the channel."""

    _aborted = False

    def write(self, frames: Iterable[bytes]) -> None:
        """Send whole frames that somebody else has put together."""
        data = b"".join(frames)
        sent = self._sent_at_once(data)
        if sent < len(data):
            self._adapter_emit_data(data[sent:])

    def abort(self, reason: str) -> None:
        """Drop the connection without a word to the broker; the callbacks are told the reason, once."""
        if not self._aborted:
            self._aborted = True
            self._terminate_stream(StreamLostError(reason))

    def _sent_at_once(self, data: bytes) -> int:
        """How much the socket takes, when nothing waits before it; an error is left for pika to meet."""
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
            told, used = confirms(data_in)
            self.bytes_received += used  # by which pika knows that the broker lives
            if told:
                self.on_confirms(told)
        if used < len(data_in):
            super()._on_data_available(data_in[used:])
