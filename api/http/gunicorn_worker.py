"""How a gunicorn worker treats those who do not speak HTTP, or speak it slowly."""

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
from api.http.request_head import MOST_AWAITED, lacking

log = structlog.get_logger(__name__)

HEADERS_WITHIN_S = 5.0
DONE_WITHIN_S = 25.0  # a caller may wait 10 s for the exchange, and then for the database
_DRAINED_WITHIN_S = 0.2
_STATUS = {LimitRequestLine: 414, LimitRequestHeaders: 431}


@dataclass(frozen=True, slots=True)
class Half:
    """What is there of a request that waits for its rest."""

    length: int
    ends_at: float


class Worker(ThreadWorker):  # type: ignore[misc]
    """Gives a thread to requests that are there, cuts off who keeps one too long, and refuses in our own form.

    Left alone, as many half-sent requests as there are threads would stop the api.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience: dict[TConn, float] = {}
        self._halves: dict[TConn, Half] = {}

    def enqueue_req(self, conn: TConn) -> None:
        """In the main thread, whenever a connection has something to read."""
        if conn.parser is None or not conn.parser.unreader.buf.getvalue():
            try:
                if self._waits_for_more(conn):
                    return
            except OSError:  # it is gone: the thread finds out
                self._halves.pop(conn, None)
        super().enqueue_req(conn)

    def _waits_for_more(self, conn: TConn) -> bool:
        seen, half = _peeked(conn.sock), self._halves.pop(conn, None)
        missing = 0 if seen is None else lacking(seen)
        if seen is not None and missing and (half is None or len(seen) > half.length):
            ends_at = half.ends_at if half else time.monotonic() + HEADERS_WITHIN_S
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(seen) + missing)  # wakes us no earlier
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._more_came, conn))
            self._halves[conn] = Half(len(seen), ends_at)
            return True
        if half is not None:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        conn.data_ready = True
        return False

    def _more_came(self, conn: TConn, client: socket.socket) -> None:
        """Or its sender went: then there is no more than before."""
        self.poller.unregister(client)
        self.enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        self._patience[conn] = time.monotonic() + HEADERS_WITHIN_S
        try:
            outcome = super().handle(conn)
        finally:
            self._patience.pop(conn, None)
        if outcome is False:
            util.close_graceful(conn.sock, timeout=_DRAINED_WITHIN_S)  # later it would hold up the worker's main thread
        return outcome

    def handle_request(self, req: Any, conn: TConn) -> Any:
        self._patience[conn] = time.monotonic() + DONE_WITHIN_S
        return super().handle_request(req, conn)

    def murder_pending(self) -> None:
        """Called about once a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn, half in self._halves.items() if now >= half.ends_at]:
            self._give_up(conn)
        for conn, ends_at in list(self._patience.items()):
            if now >= ends_at:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def _give_up(self, conn: TConn) -> None:
        del self._halves[conn]
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        with suppress(OSError):
            conn.sock.send(_answer(408, "malformed_request"), socket.MSG_DONTWAIT)
        conn.close()

    def handle_error(self, _req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, ParseException):
            status, code = _STATUS.get(type(exc), 400), "malformed_request"
            log.warning("request is no HTTP", address=addr[0] if addr else None, error=str(exc)[:200])
        else:
            status, code = 500, "internal_error"
            log.error("request failed", exc_info=exc)
        with suppress(OSError):
            client.sendall(_answer(status, code))


def _peeked(sock: socket.socket) -> bytes | None:
    """What can be read without waiting, and stays to be read; None at its end."""
    try:
        return sock.recv(MOST_AWAITED, socket.MSG_PEEK | socket.MSG_DONTWAIT) or None
    except BlockingIOError:
        return b""


def _answer(status: int, code: str) -> bytes:
    body = orjson.dumps(shape(status, code, "this is not an HTTP request that can be answered"))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: {MIME_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
