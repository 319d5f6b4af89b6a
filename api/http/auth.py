"""Who is asking, and what they may touch."""

import hashlib
import hmac
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from flask import Flask, g, request

from api.http.errors import Refusal, no_such
from api.services.store import Store
from api.settings import Rates
from common.errors import Unavailable
from common.tables import api_keys

V = TypeVar("V", bound=Callable[..., object])

ADMINISTRATOR = "administrator"
SERVICE = "service"
_OPEN = "open_without_a_key"
_UNCOUNTED = ("/health", "/health/live", "/ready", "/metrics")  # a probe that is refused restarts what is well


class Counter(Protocol):
    def allow(self, name: str, most_per_s: int, now: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class Caller:
    """`service` is None for the administrator, who acts for all of them."""

    kind: str
    service: str | None = None

    def may_touch(self, service: str) -> bool:
        return self.service in (None, service)


class Doorkeeper:
    """Tells callers apart by their key; every path is closed unless its view is marked open."""

    def __init__(self, store: Store, administrator_key: str, counter: Counter, rates: Rates) -> None:
        self._store = store
        self._administrator = digest(administrator_key)
        self._counter = counter
        self._rates = rates

    def register(self, app: Flask) -> None:
        app.before_request(lambda: self._let_in(app))

    def _let_in(self, app: Flask) -> None:
        if request.path not in _UNCOUNTED:
            self._count(f"address {g.address}", self._rates.of_an_address)
        if request.endpoint is None or is_open(app, request.endpoint):
            return  # a path that does not exist is refused by the framework
        key = request.headers.get("X-API-Key", "")
        if not key:
            raise _unknown("missing_key", "this call needs a key in the header X-API-Key")
        given = digest(key)
        g.caller = self._caller(given)
        self._count(f"key {given.hex()}", self._rates.of_a_key)

    def _caller(self, given: bytes) -> Caller:
        """Raises Refusal for a key that is none."""
        if hmac.compare_digest(given, self._administrator):
            return Caller(ADMINISTRATOR)
        return self._service(given)

    def _service(self, given: bytes) -> Caller:
        with self._store.reading() as connection:
            user = api_keys.user_of(connection, given)
        if user is None:
            raise _unknown("unknown_key", "the key in X-API-Key is not known, or no longer")
        if user.use_is_news:
            with suppress(Unavailable), self._store.changing_at_once() as connection:
                api_keys.note_use(connection, user.id)
        return Caller(SERVICE, user.service)

    def _count(self, name: str, most_per_s: int) -> None:
        if not self._counter.allow(name, most_per_s, time.monotonic()):
            whose = name.split(" ")[0]
            detail = f"this {whose} may ask {most_per_s} times a second"
            raise Refusal(429, f"too_many_requests_of_{whose}", detail, headers={"Retry-After": "1"})


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def open_without_a_key(view: V) -> V:
    """Marks a view that anybody may call."""
    setattr(view, _OPEN, True)
    return view


def is_open(app: Flask, endpoint: str) -> bool:
    return endpoint.startswith("openapi.") or hasattr(app.view_functions[endpoint], _OPEN)


def acting_for(service: str) -> None:
    """Raises 403 when the caller names a service that is not its own."""
    if not caller().may_touch(service):
        raise Refusal(403, "not_your_service", f"this key acts for {caller().service!r} only")


def owned(service: str, what: str) -> None:
    """Raises 404 when a thing is another service's: its very existence is not told."""
    if not caller().may_touch(service):
        raise no_such(what)


def administrator_only() -> None:
    if caller().kind != ADMINISTRATOR:
        raise Refusal(403, "administrator_only", "this call needs the administrator's key")


def caller() -> Caller:
    found: Caller = g.caller
    return found


def _unknown(code: str, detail: str) -> Refusal:
    return Refusal(401, code, detail, headers={"WWW-Authenticate": 'ApiKey realm="ws-gateway"'})
