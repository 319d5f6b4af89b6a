"""A pika connection that sends a burst of messages in one go."""

from collections.abc import Iterable

from pika import SelectConnection


class JoinedConnection(SelectConnection):  # type: ignore[misc]
    """pika sends method, header and body of each message on their own: three system calls a message, most of its cost.

    The hook below pika's own sending is private, so a test fails when a release of pika moves it.
    """

    def write(self, frames: Iterable[bytes]) -> None:
        """Send whole frames that somebody else has put together."""
        self._adapter_emit_data(b"".join(frames))

    def abort(self) -> None:
        """Drop the connection without a word; its callbacks are told."""
        self._adapter_disconnect_stream()
