"""How a private connection authenticates, and what a refusal means (websocket/connect)."""

import hashlib
import hmac
import re
from enum import StrEnum

AHEAD_MS = 10_000  # `expires` is this far ahead of the exchange's clock; 1 s often fails on slow links


class Refusal(StrEnum):
    """Why Bybit did not accept an authentication."""

    SKEW = "skew"
    KEY = "key"
    PERMISSION = "permission"
    IP = "ip"
    EXPIRED = "expired"
    SESSIONS = "sessions"
    UNKNOWN = "unknown"


TRANSIENT = (Refusal.SKEW, Refusal.SESSIONS)
"""Refusals that end by themselves; for the others a person must act."""

_BY_CODE = {10002: Refusal.SKEW, 10003: Refusal.KEY, 10004: Refusal.KEY, 10005: Refusal.PERMISSION,
            10007: Refusal.KEY, 10009: Refusal.IP, 10010: Refusal.IP, 33004: Refusal.EXPIRED}  # fmt: skip
_BY_TEXT = (
    (Refusal.SESSIONS, r"too many sessions"),
    (Refusal.IP, r"unmatched ip|\bip\b"),
    (Refusal.EXPIRED, r"api ?key.*expired|expired.*api ?key|key expired"),
    (Refusal.SKEW, r"params error|timestamp|recv_window|expire"),
    (Refusal.PERMISSION, r"permission|denied"),
    (Refusal.KEY, r"api ?key|sign|invalid"),
)


def signature(secret: str, expires_ms: int) -> str:
    """HMAC-SHA256 over `GET/realtime` and `expires`, as lower case hex (websocket/connect)."""
    return hmac.new(secret.encode(), f"GET/realtime{expires_ms}".encode(), hashlib.sha256).hexdigest()


def refusal(text: str, code: int | None = None) -> Refusal:
    """What a refusal means: by its code (error), else by its text, which differs between endpoints, undocumented."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    for kind, pattern in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return Refusal.UNKNOWN
