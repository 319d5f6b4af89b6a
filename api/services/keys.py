"""Keys of services: issued, listed and revoked by the administrator."""

import secrets
import uuid
from dataclasses import asdict, dataclass

from api.http.auth import digest
from api.http.errors import ApiError, no_such
from api.services.guarded_database import GuardedDatabase
from common.tables import api_keys
from common.tables.api_keys import ApiKey
from common.views.pages import ResultPage


@dataclass(frozen=True, slots=True)
class IssuedKey(ApiKey):
    """A new key with its secret, which is not stored."""

    key: str


def issue(database: GuardedDatabase, service: str, lease_s: int | None) -> IssuedKey:
    """Raises ApiError when the service has the maximum of live keys."""
    key = f"wsgw_{secrets.token_urlsafe(32)}"
    with database.writing() as connection:
        added = api_keys.add(connection, service, digest(key), lease_s)
    if added is None:
        detail = f"service {service!r} has {api_keys.MOST_LIVE} live keys, the maximum; revoke one first"
        raise ApiError(409, "too_many_keys", detail)
    return IssuedKey(**asdict(added), key=key)


def page(database: GuardedDatabase, service: str | None, limit: int, offset: int) -> ResultPage[ApiKey]:
    with database.reading() as connection:
        keys, total = api_keys.page(connection, service, limit, offset)
    return ResultPage(keys, total, limit, offset)


def revoke(database: GuardedDatabase, key_id: uuid.UUID) -> ApiKey:
    """Raises ApiError when there is no such key; revoking it twice changes nothing."""
    with database.writing() as connection:
        revoked = api_keys.revoke(connection, key_id)
    if revoked is None:
        raise no_such("key", key_id)
    return revoked
