"""One log line and one trace id per request."""

import re
import secrets
import time
from collections.abc import Sequence
from http import HTTPStatus

import structlog
from flask import Flask, Response, g, request
from structlog.contextvars import bind_contextvars, clear_contextvars
from werkzeug.datastructures import Headers

from api.http.client_address import address
from api.settings import Network
from common import logs

log = structlog.get_logger("api.requests")
write = logs.straight("api.requests")

PROBES = frozenset({"/health", "/health/live", "/ready", "/metrics"})

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def trace_id(headers: Headers) -> str:
    """The caller's own, where it is safe to log; otherwise a new one."""
    given = headers.get("X-Request-ID", "")
    if _REQUEST_ID.fullmatch(given):
        return given
    parent = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return parent.group(1) if parent else secrets.token_hex(16)


def register(app: Flask, proxies: Sequence[Network]) -> None:
    app.before_request(lambda: _begin(proxies))
    app.after_request(_end)


def _begin(proxies: Sequence[Network]) -> None:
    g.began_at = time.perf_counter()
    g.address = address(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), proxies)
    g.trace_id = trace_id(request.headers)
    clear_contextvars()  # threads are reused
    bind_contextvars(trace_id=g.trace_id)


def _end(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.trace_id
    caller = g.get("caller")
    quiet = request.path in PROBES and response.status_code < HTTPStatus.MULTIPLE_CHOICES
    (log.debug if quiet else write)(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.began_at) * 1000, 3),
        key=caller.kind if caller else None,
        service=caller.service if caller else None,
        address=g.address,
    )
    return response
