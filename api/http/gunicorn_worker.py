"""A gunicorn worker with deadlines for clients that are slow or do not speak HTTP."""

import selectors
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from api.http.errors import MIME_TYPE, shape
from api.http.request_head import MAX_BUFFERED, missing

log = structlog.get_logger(__name__)

HEADERS_WITHIN_S = 5.0
DONE_WITHIN_S = 25.0  # a caller may wait 10 s for the exchange, and then for the database
_DRAINED_WITHIN_S = 0.2
_STATUS = {LimitRequestLine: 414, LimitRequestHeaders: 431}


@dataclass(frozen=True, slots=True)
class PartialRequest:
    """How many bytes of a request have arrived, and until when the rest is waited for."""

    length: int
    ends_at: float


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]
    """Gives threads to complete requests only, disconnects clients that hold one too long, and answers problems.

    Without this, as many half-sent requests as there are threads would stop the api.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: dict[TConn, float] = {}
        self._partial: dict[TConn, PartialRequest] = {}

    def enqueue_req(self, conn: TConn) -> None:
        """In the main thread, whenever a connection has something to read."""
        if conn.parser is None or not conn.parser.unreader.buf.getvalue():
            try:
                if self._waits_for_more(conn):
                    return
            except OSError:  # it is closed: the thread finds out
                self._partial.pop(conn, None)
        super().enqueue_req(conn)

    def _waits_for_more(self, conn: TConn) -> bool:
        received = _peeked(conn.sock)
        before = self._partial.pop(conn, None)
        lacks = 0 if received is None else missing(received)
        if received is not None and lacks and (before is None or len(received) > before.length):
            ends_at = before.ends_at if before else time.monotonic() + HEADERS_WITHIN_S
            # The poller reports the connection no earlier than this.
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(received) + lacks)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._more_arrived, conn))
            self._partial[conn] = PartialRequest(len(received), ends_at)
            return True
        if before is not None:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        conn.data_ready = True
        return False

    def _more_arrived(self, conn: TConn, client: socket.socket) -> None:
        """Or the client disconnected: then there is no more than before."""
        self.poller.unregister(client)
        self.enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        self._deadlines[conn] = time.monotonic() + HEADERS_WITHIN_S
        try:
            outcome = super().handle(conn)
        finally:
            self._deadlines.pop(conn, None)
        if outcome is False:
            util.close_graceful(conn.sock, timeout=_DRAINED_WITHIN_S)  # later it would block the worker's main thread
        return outcome

    def handle_request(self, req: Any, conn: TConn) -> Any:
        self._deadlines[conn] = time.monotonic() + DONE_WITHIN_S
        return super().handle_request(req, conn)

    def murder_pending(self) -> None:
        """Called about once a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn, half in self._partial.items() if now >= half.ends_at]:
            self._give_up(conn)
        for conn, ends_at in list(self._deadlines.items()):
            if now >= ends_at:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def _give_up(self, conn: TConn) -> None:
        del self._partial[conn]
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        with suppress(OSError):
            conn.sock.send(_malformed(408), socket.MSG_DONTWAIT)
        conn.close()

    def handle_error(self, _req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, ParseException):
            log.warning("malformed request", address=addr[0] if addr else None, error=str(exc)[:200])
            answer = _malformed(_STATUS.get(type(exc), 400))
        else:
            log.error("request failed", exc_info=exc)
            answer = _answer(500, "internal_error", "internal error; see the log of the api")
        with suppress(OSError):
            client.sendall(answer)


def _peeked(sock: socket.socket) -> bytes | None:
    """What can be read without waiting, and remains to be read; None at its end."""
    try:
        return sock.recv(MAX_BUFFERED, socket.MSG_PEEK | socket.MSG_DONTWAIT) or None
    except BlockingIOError:
        return b""


def _malformed(status: int) -> bytes:
    return _answer(status, "malformed_request", "the request must be valid HTTP/1.1 and complete within 5 s")


def _answer(status: int, code: str, detail: str) -> bytes:
    body = orjson.dumps(shape(status, code, detail))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: {MIME_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
