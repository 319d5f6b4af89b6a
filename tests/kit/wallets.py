"""Wallet messages of Bybit, and balance events as a consumer receives them."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from common.events import Form, digest
from persister.message import BalanceEvent, read

_DATA = Path(__file__).parent.parent / "data" / "bybit"
REAL = ("private.wallet.2026.jsonl", "private.wallet.2023.jsonl", "private.wallet.docs.2022.jsonl")
T0_MS = 1_774_779_351_206  # 2026-03-29T10:15:51.206Z


def real(name: str) -> bytes:
    """The single frame in a file, byte for byte as Bybit sent it."""
    return (_DATA / name).read_bytes().rstrip(b"\n")


def document(name: str) -> bytes:
    return (_DATA / "docs" / name).read_bytes()


def coin(name: str = "USDT", **fields: Any) -> dict[str, Any]:
    return {"coin": name, "walletBalance": "100", "locked": "0", **fields}


def account(*coins: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"accountType": "UNIFIED", "totalEquity": "100", "coin": list(coins), **fields}


def frame(*accounts: dict[str, Any], at_ms: int = T0_MS) -> bytes:
    message = {"id": f"1_wallet_{at_ms}", "topic": "wallet", "creationTime": at_ms, "data": list(accounts)}
    return json.dumps(message, separators=(",", ":")).encode()


def live(data: bytes, at_ms: int | None = T0_MS, received_ns: int | None = None) -> bytes:
    """The event of a wallet frame from the WebSocket."""
    return _event(digest(b"private", b"wallet", data), "bybit.balance", "live", data, at_ms, received_ns)


def snapshot(*accounts: dict[str, Any], at_ms: int = T0_MS) -> bytes:
    """The event of a wallet snapshot from REST, requested at `at_ms`."""
    data = json.dumps({"list": list(accounts)}).encode()
    version = digest(b"wallet", str(at_ms).encode())
    return _event(version, "bybit.balance.snapshot", "snapshot", data, at_ms, None)


def gap() -> bytes:
    return _event(digest(b"gap"), "bybit.gap", "gateway", b'{"state":"open"}', None, None)


def _event(id: str, type: str, origin: str, data: bytes, at_ms: int | None, received_ns: int | None) -> bytes:
    received_ns = received_ns or (at_ms * 1_000_000 if at_ms else time.time_ns())
    form = Form(source="/bybit/mainnet/private", type=type, subject="wallet", epoch="01JABCDEF", origin=origin)
    return form.render(id, at_ms, received_ns, 1, data)


def understood(body: bytes) -> BalanceEvent:
    found = read(body)
    assert found is not None
    return found


def moment(at_ms: int) -> datetime:
    return datetime.fromisoformat(
        f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_ms // 1000))}.{at_ms % 1000:03d}Z"
    )
