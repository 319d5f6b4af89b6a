"""One WebSocket connection to the exchange, whose every wait ends."""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from websocket import WebSocket, WebSocketBadStatusException, WebSocketException

from common.errors import MALFORMED, ProtocolViolation, Unavailable, reported_as
from common.foreign import plain
from ingestor.sockets.frames import FrameReader, Message, Opcode

CONNECTED_WITHIN_S = 10.0  # TCP, TLS and the upgrade together
SENT_WITHIN_S = 5.0
_READ_AHEAD = 2**16
_LONGEST_HEADERS = 2**16
_USER_TIMEOUT_MS = 10_000


class Lost(Unavailable):
    """The connection is gone or was never made; `wait_s` is how long the exchange requires us to wait."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Unfit:
    """A message that cannot be an event."""

    sample: bytes
    reason: str


class Transport:
    """Text out, messages in; used by one thread."""

    def __init__(self, websocket: WebSocket, connected: socket.socket) -> None:
        self._websocket = websocket
        self._socket = connected
        self._reader = FrameReader()
        self._ended: str | None = None
        connected.settimeout(0)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, text: str) -> None:
        with reported_as(Lost, WebSocketException, OSError), self._patient():
            self._websocket.send(text)

    def receive(self) -> list[bytes | Unfit]:
        """What has arrived, at once; raises Lost at the end of the connection, after all that came before it."""
        if self._ended is not None:
            raise Lost(self._ended)
        messages = self._read()
        return [fit for message in messages if (fit := self._fit(message)) is not None]

    @property
    def pending(self) -> bool:
        """Whether there is more to receive than the operating system knows of."""
        inside_tls = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0
        return inside_tls or self._ended is not None

    def close(self) -> None:
        """Send a close frame if that takes no time, and free the socket."""
        try:
            self._websocket.send_close()
        except (WebSocketException, OSError, ValueError):
            pass
        finally:
            self._socket.close()

    def _read(self) -> list[Message]:
        try:
            chunk = self._socket.recv(_READ_AHEAD)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return []
        except OSError as error:
            raise Lost(f"{type(error).__name__}: {error}") from error
        if not chunk:
            raise Lost("the connection ended without a close frame")
        try:
            return self._reader.feed(chunk)
        except ProtocolViolation as violation:
            raise Lost(f"protocol violation: {violation}") from violation

    def _fit(self, message: Message) -> bytes | Unfit | None:
        if message.passed_over:
            return Unfit(message.payload, f"a message of {message.passed_over} bytes")
        if message.opcode == Opcode.TEXT:
            return message.payload
        if message.opcode == Opcode.BINARY:
            return Unfit(message.payload, "a binary message")
        if message.opcode == Opcode.PING:
            with reported_as(Lost, WebSocketException, OSError), self._patient():
                self._websocket.pong(message.payload)
        if message.opcode == Opcode.CLOSE:
            self._ended = f"closed by the exchange{_close_words(message.payload)}"
        return None

    @contextmanager
    def _patient(self) -> Iterator[None]:
        """Reading never waits; sending may, for a while."""
        self._socket.settimeout(SENT_WITHIN_S)
        try:
            yield
        finally:
            self._socket.settimeout(0)


def open_transport(
    url: str, within_s: float = CONNECTED_WITHIN_S, headers: Iterable[tuple[str, str]] = ()
) -> Transport:
    """Connect in this time or raise Lost; proxies and redirects are not followed. `headers` go with the upgrade."""
    within = _Deadline(within_s)
    websocket = WebSocket(skip_utf8_validation=True, enable_multithread=False)
    try:
        connected = _connected(url, within)
    except OSError as error:
        raise Lost(f"cannot connect: {type(error).__name__}: {error}") from error
    try:
        websocket.connect(
            url,
            socket=_Patient(connected, within),
            redirect_limit=0,
            suppress_origin=True,
            header=[f"{name}: {value}" for name, value in headers],
        )
    except WebSocketBadStatusException as error:
        connected.close()
        raise Lost(f"the exchange answered HTTP {error.status_code}", _retry_after_s(error.resp_headers)) from error
    except (WebSocketException, OSError, *MALFORMED) as error:  # of what the library makes of a strange answer
        connected.close()
        raise Lost(within.over or f"no upgrade: {type(error).__name__}: {_first_line(error)}") from error
    websocket.sock = connected
    return Transport(websocket, connected)


class _Deadline:
    """One span of time that several waits share."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds

    @property
    def over(self) -> str | None:
        """Why the time is over, once it is."""
        return f"not connected within {self._seconds:g} s" if time.monotonic() >= self._ends_at else None

    def left_s(self) -> float:
        if self.over:
            raise TimeoutError(self.over)
        return max(0.001, self._ends_at - time.monotonic())


class _Patient:
    """The socket during the upgrade: a server that drips bytes or headers without end runs out of time or space."""

    def __init__(self, connected: socket.socket, within: _Deadline) -> None:
        self._socket = connected
        self._within = within
        self._room = _LONGEST_HEADERS

    def recv(self, size: int) -> bytes:
        self._socket.settimeout(self._within.left_s())
        received = self._socket.recv(size)
        self._room -= len(received)
        if self._room < 0:
            raise OSError("the answer to the upgrade has no end")
        return received

    def send(self, data: bytes) -> int:
        self._socket.settimeout(self._within.left_s())
        return self._socket.send(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


def _connected(url: str, within: _Deadline) -> socket.socket:
    parts = urlsplit(url)
    secure = parts.scheme == "wss"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    tcp = _tcp(host, port, within)
    try:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not secure:
            return tcp
        tcp.settimeout(within.left_s())
        return ssl.create_default_context().wrap_socket(tcp, server_hostname=host)
    except OSError:
        tcp.close()
        raise


def _tcp(host: str, port: int, within: _Deadline) -> socket.socket:
    refused: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        tcp = socket.socket(family, kind, protocol)
        try:
            tcp.settimeout(within.left_s())
            tcp.connect(address)
        except OSError as error:
            tcp.close()
            refused = error
        else:
            return tcp
    raise refused


def _retry_after_s(headers: Any) -> float:
    text = str((headers or {}).get("retry-after", ""))
    if text.isascii() and text.isdigit():
        return min(float(text), 3600.0)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - time.time()), 3600.0)
    except MALFORMED:
        return 0.0


def _close_words(payload: bytes) -> str:
    if len(payload) < 2:
        return " without a reason"
    words = plain(payload[2:].decode(errors="replace"))
    return f": {int.from_bytes(payload[:2], 'big')} {words}".rstrip()


def _first_line(error: Exception) -> str:
    return plain(str(error).splitlines()[0], 200) if str(error) else ""
