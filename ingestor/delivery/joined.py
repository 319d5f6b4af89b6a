"""A pika connection that sends a burst of messages in one go."""

from typing import Any

from pika import SelectConnection


class JoinedConnection(SelectConnection):  # type: ignore[misc]
    """Between `gather` and `flush` outgoing frames are joined into one send.

    pika sends method, header and body of each message on their own: three system calls a message, most of its cost.
    The hook is private, so a test fails when a release of pika moves it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._gathered: list[bytes] | None = None
        super().__init__(*args, **kwargs)

    def gather(self) -> None:
        self._gathered = []

    def flush(self) -> None:
        gathered, self._gathered = self._gathered, None
        if gathered:
            super()._adapter_emit_data(b"".join(gathered))

    def abort(self) -> None:
        """Drop the connection without a word; its callbacks are told."""
        self._adapter_disconnect_stream()

    def _adapter_emit_data(self, data: bytes) -> None:
        if self._gathered is None:
            super()._adapter_emit_data(data)
        else:
            self._gathered.append(data)
