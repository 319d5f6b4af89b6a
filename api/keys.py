"""Who is asking, and what they may touch."""

import hashlib
import hmac
from dataclasses import dataclass

from flask import Flask, g, request

from api.errors import Refusal, no_such
from api.store import Store
from common.tables import api_keys

ADMINISTRATOR = "administrator"
SERVICE = "service"
_OPEN = "open_without_a_key"


@dataclass(frozen=True, slots=True)
class Caller:
    """`service` is None for the administrator, who acts for all of them."""

    kind: str
    service: str | None = None

    def may_touch(self, service: str) -> bool:
        return self.service in (None, service)


class Doorkeeper:
    """Tells callers apart by their key; every path is closed unless its view is marked open."""

    def __init__(self, store: Store, administrator_key: str) -> None:
        self._store = store
        self._administrator = digest(administrator_key)

    def register(self, app: Flask) -> None:
        app.before_request(lambda: self._let_in(app))

    def _let_in(self, app: Flask) -> None:
        if request.endpoint is None or is_open(app, request.endpoint):
            return  # a path that does not exist is refused by the framework
        g.caller = self.caller(request.headers.get("X-API-Key", ""))

    def caller(self, key: str) -> Caller:
        """Raises Refusal for a key that is none."""
        if not key:
            raise _unknown("missing_key", "this call needs a key in the header X-API-Key")
        given = digest(key)
        if hmac.compare_digest(given, self._administrator):
            return Caller(ADMINISTRATOR)
        with self._store.reading() as connection:
            service = api_keys.service_of(connection, given)
        if service is None:
            raise _unknown("unknown_key", "the key in X-API-Key is not known, or no longer")
        return Caller(SERVICE, service)


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def open_without_a_key(view):  # type: ignore[no-untyped-def]
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
