"""How a gunicorn worker treats those who do not speak HTTP, or speak it slowly."""

import socket
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from api.errors import MIME_TYPE, shape

log = structlog.get_logger(__name__)

HEADERS_WITHIN_S = 5.0
DONE_WITHIN_S = 25.0  # a caller may wait 10 s for the exchange, and then for the database
_DRAINED_WITHIN_S = 0.2
_STATUS = {LimitRequestLine: 414, LimitRequestHeaders: 431}


class Worker(ThreadWorker):  # type: ignore[misc]
    """Cuts off who keeps a thread too long, and refuses in the form of all our refusals.

    Left alone, as many half-sent requests as there are threads would stop the api for good.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience: dict[TConn, float] = {}

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
        for conn, ends_at in list(self._patience.items()):
            if now >= ends_at:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, _req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, ParseException):
            status, code = _STATUS.get(type(exc), 400), "malformed_request"
            log.warning("request is no HTTP", address=addr[0] if addr else None, error=str(exc)[:200])
        else:
            status, code = 500, "internal_error"
            log.error("request failed", exc_info=exc)
        with suppress(OSError):
            client.sendall(_answer(status, code))


def _answer(status: int, code: str) -> bytes:
    body = orjson.dumps(shape(status, code, "this is not an HTTP request that can be answered"))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: {MIME_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body
