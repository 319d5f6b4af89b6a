"""Rows as the database would give them."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

NOW = datetime(2026, 8, 9, 21, 26, 58, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def leader(
    age_s: float = 0.5, broker: bool = True, generation: int = 100, disk: str | None = None, **market: Any
) -> Any:
    told = {"waiting": 0, "confirmed_at": ago(1).isoformat(), "waits_since": None, "waits_s": 0.0}
    return SimpleNamespace(
        epoch="E1",
        started_at=ago(3600),
        heartbeat_at=ago(age_s),
        age_s=age_s,
        generation=generation,
        broker_connected=broker,
        broker_since=ago(600),
        broker_reason="connected" if broker else "connection refused",
        lanes={"market": told | market, "private": told},
        disk_trouble=disk,
        disk_since=ago(60) if disk else None,
    )


def socket(endpoint: str = "linear", state: str = "live", age_s: float = 0.5, error: str | None = None) -> Any:
    return SimpleNamespace(
        endpoint=endpoint,
        state=state,
        since=ago(300),
        attempts=3,
        last_error=error,
        last_heartbeat_at=ago(4),
        updated_at=ago(age_s),
        age_s=age_s,
    )


def queue(name: str = "ws-gateway.trades.model", consumers: int | None = 1, age_s: float = 2, **changed: Any) -> Any:
    found = {
        "name": name,
        "ready": 3,
        "consumers": consumers,
        "age_s": age_s,
        "observed_at": ago(age_s),
        "alarm": None,
        "reason": None,
        "consume_rate": 1.0,
        "oldest_at": None,
        "nobody_since": None if consumers else ago(300),
        "read_since": ago(900) if consumers else None,
        "other_arguments": False,
    }
    return SimpleNamespace(**found | changed)


def gap(cause: str = "connection lost") -> Any:
    return SimpleNamespace(cause=cause, opened=ago(20))


def subscription(**changed: Any) -> Any:
    """One that is live."""
    found = {
        "id": "0f8c2b6e-5d7a-4c1e-9b3a-7f60d2e41c58",
        "channel_type": "trades",
        "category": "linear",
        "endpoint": "linear",
        "topic": "publicTrade.BTCUSDT",
        "symbol": "BTCUSDT",
        "routing_key": "trades.linear.BTCUSDT",
        "requesting_service": "model",
        "is_active": True,
        "ended": None,
        "status": "live",
        "reason": None,
        "generation": 50,
        "expires_at": None,
        "created_at": ago(3000),
        "updated_at": ago(3000),
        "topic_state": "live",
        "topic_epoch": "E1",
        "topic_updated_at": ago(0.5),
        "acked_at": ago(2990),
        "last_event_at": ago(1),
    }
    return SimpleNamespace(**found | changed)
