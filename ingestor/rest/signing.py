"""Signs REST requests (v5/guide#authentication)."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

from common.settings import Credentials

RECEIVE_WINDOW_MS = 10_000  # a request that arrives later than this after its timestamp is refused


def query_text(query: Mapping[str, object]) -> str:
    """The query string to send and to sign. Cursors arrive percent-encoded and are passed on as they are."""
    return "&".join(f"{name}={quote(str(value), safe='%')}" for name, value in query.items() if value is not None)


def signed_headers(credentials: Credentials, query: str, timestamp_ms: int) -> dict[str, str]:
    """The headers of a GET request; `query` is the query string exactly as it is sent."""
    text = f"{timestamp_ms}{credentials.key}{RECEIVE_WINDOW_MS}{query}"
    return {
        "X-BAPI-API-KEY": credentials.key,
        "X-BAPI-TIMESTAMP": str(timestamp_ms),
        "X-BAPI-RECV-WINDOW": str(RECEIVE_WINDOW_MS),
        "X-BAPI-SIGN-TYPE": "2",
        "X-BAPI-SIGN": hmac.new(credentials.secret.encode(), text.encode(), hashlib.sha256).hexdigest(),
    }
