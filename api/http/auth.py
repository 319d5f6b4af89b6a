"""Authentication, and which services a caller may act for."""

import hashlib
import hmac
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from flask import Flask, g, request

from api.http.errors import ApiError, no_such
from api.services.guarded_database import GuardedDatabase
from api.settings import Rates
from common.errors import Unavailable
from common.tables import api_keys

V = TypeVar("V", bound=Callable[..., object])

ADMINISTRATOR = "administrator"
SERVICE = "service"
_OPEN = "open_without_a_key"
_UNCOUNTED = ("/health", "/health/live", "/ready", "/metrics")  # a rejected probe restarts a healthy process


class RequestCounter(Protocol):
    def allow(self, name: str, max_per_s: int, now: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts as; `service` is None for the administrator, who acts for all of them."""

    kind: str
    service: str | None = None

    def may_touch(self, service: str) -> bool:
        return self.service in (None, service)


class Authenticator:
    """Identifies callers by their key; every path is closed unless its view is marked open."""

    def __init__(
        self, database: GuardedDatabase, administrator_key: str, counter: RequestCounter, rates: Rates
    ) -> None:
        self._database = database
        self._administrator = digest(administrator_key)
        self._counter = counter
        self._rates = rates

    def register(self, app: Flask) -> None:
        app.before_request(lambda: self._authenticate(app))

    def _authenticate(self, app: Flask) -> None:
        if request.path not in _UNCOUNTED:
            self._count("address", g.address, self._rates.of_an_address)
        if request.endpoint is None or is_open(app, request.endpoint):
            return  # the framework answers a path that does not exist
        key = request.headers.get("X-API-Key", "")
        if not key:
            raise _unauthorized("missing_key", "the header X-API-Key is missing; send a key in it")
        given = digest(key)
        g.caller = self._principal(given)
        self._count("key", given.hex(), self._rates.of_a_key)

    def _principal(self, given: bytes) -> Principal:
        """Raises ApiError for a key that is not live."""
        if hmac.compare_digest(given, self._administrator):
            return Principal(ADMINISTRATOR)
        return self._service(given)

    def _service(self, given: bytes) -> Principal:
        with self._database.reading() as connection:
            user = api_keys.user_of(connection, given)
        if user is None:
            raise _unauthorized("unknown_key", "the key in X-API-Key is unknown, revoked or expired; send a live one")
        if user.use_is_due:
            with suppress(Unavailable), self._database.changing_at_once() as connection:
                api_keys.note_use(connection, user.id)
        return Principal(SERVICE, user.service)

    def _count(self, kind: str, name: str, max_per_s: int) -> None:
        if not self._counter.allow(f"{kind} {name}", max_per_s, time.monotonic()):
            detail = f"this {kind} exceeds {max_per_s} requests per second; retry after 1 s"
            raise ApiError(429, f"too_many_requests_of_{kind}", detail, headers={"Retry-After": "1"})


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def open_without_a_key(view: V) -> V:
    """Marks a view that needs no key."""
    setattr(view, _OPEN, True)
    return view


def is_open(app: Flask, endpoint: str) -> bool:
    return endpoint.startswith("openapi.") or hasattr(app.view_functions[endpoint], _OPEN)


def acting_for(service: str) -> None:
    """Raises 403 when the caller names a service that is not its own."""
    if not caller().may_touch(service):
        own = caller().service
        detail = f"this key acts for {own!r} only; use the key of {service!r} or the administrator's"
        raise ApiError(403, "not_your_service", detail)


def owned(service: str, what: str, id: object) -> None:
    """Raises 404 when this is another service's: not even its existence is disclosed."""
    if not caller().may_touch(service):
        raise no_such(what, id)


def administrator_only() -> None:
    if caller().kind != ADMINISTRATOR:
        raise ApiError(403, "administrator_only", "this call requires the administrator's key in X-API-Key")


def caller() -> Principal:
    found: Principal = g.caller
    return found


def _unauthorized(code: str, detail: str) -> ApiError:
    return ApiError(401, code, detail, headers={"WWW-Authenticate": 'ApiKey realm="ws-gateway"'})
