"""Whether a request was signed with the account's secret."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator import replies

DEFAULT_WINDOW_MS = 5000
AHEAD_MS = 1000


@dataclass(frozen=True, slots=True)
class Credentials:
    key: str
    secret: str

    def sign(self, text: str) -> str:
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def socket_refusal(args: Any, credentials: Credentials, now_ms: int) -> str | None:
    """Why these arguments of an auth request are refused; None if they are valid."""
    if not isinstance(args, list) or len(args) != 3:
        return replies.PARAMS_ERROR
    key, expires, signature = args
    if not isinstance(key, str) or not isinstance(signature, str) or not _is_number(expires):
        return replies.PARAMS_ERROR
    if int(expires) <= now_ms:
        return replies.PARAMS_ERROR
    if key != credentials.key:
        return replies.INVALID_KEY
    expected = credentials.sign(f"GET/realtime{expires}")
    return None if hmac.compare_digest(expected, signature) else replies.WRONG_SIGNATURE


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit()
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Refusal:
    code: int
    message: str


def request_refusal(headers: Mapping[str, str], payload: str, credentials: Credentials, now_ms: int) -> Refusal | None:
    """Why a signed REST request is refused; the payload is the query or body exactly as sent."""
    key, stamp = headers.get("X-BAPI-API-KEY", ""), headers.get("X-BAPI-TIMESTAMP", "")
    window = headers.get("X-BAPI-RECV-WINDOW") or str(DEFAULT_WINDOW_MS)
    if key != credentials.key:
        return Refusal(10003, replies.INVALID_KEY)
    if not _is_number(stamp) or not _is_number(window):
        return Refusal(10001, "params error: X-BAPI-TIMESTAMP and X-BAPI-RECV-WINDOW are milliseconds")
    if not now_ms - int(window) <= int(stamp) < now_ms + AHEAD_MS:
        return Refusal(10002, _outside(stamp, window, now_ms))
    origin = f"{stamp}{key}{window}{payload}"
    origin = origin if "X-BAPI-RECV-WINDOW" in headers else f"{stamp}{key}{payload}"
    if not hmac.compare_digest(credentials.sign(origin), headers.get("X-BAPI-SIGN", "")):
        return Refusal(10004, f"error sign! origin_string[{origin}]")
    return None


def _outside(stamp: str, window: str, now_ms: int) -> str:
    return (
        "invalid request, please check your server timestamp or recv_window param. "
        f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window}]"
    )
