"""Views as the database would give them."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from common.views.balances import BalanceView
from common.views.connections import ConnectionView
from common.views.gaps import GapView
from common.views.ingestors import IngestorView, LaneView
from common.views.queues import QueueView
from common.views.subscription_status import SubscriptionView

NOW = datetime(2026, 8, 9, 21, 26, 58, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def leader(
    age_s: float = 0.5, broker: bool = True, generation: int = 100, disk: str | None = None, **market: Any
) -> IngestorView:
    idle = LaneView(waiting=0, confirmed_at=ago(1), waits_since=None, waits_s=0.0)
    return IngestorView(
        epoch="E1",
        started_at=ago(3600),
        heartbeat_at=ago(age_s),
        age_s=age_s,
        generation=generation,
        broker_connected=broker,
        broker_since=ago(600),
        broker_reason="connected" if broker else "connection refused",
        lanes={"market": replace(idle, **market), "private": idle},
        disk_trouble=disk,
        disk_since=ago(60) if disk else None,
    )


def connection(
    endpoint: str = "linear", state: str = "live", age_s: float = 0.5, error: str | None = None
) -> ConnectionView:
    return ConnectionView(
        epoch="E1",
        endpoint=endpoint,
        socket_no=1,
        state=state,
        since=ago(300),
        attempts=3,
        last_error=error,
        rtt_ms=None,
        clock_offset_ms=None,
        last_heartbeat_at=ago(4),
        observed_at=ago(age_s),
        age_s=age_s,
    )


def queue(
    name: str = "ws-gateway.trades.model", consumers: int | None = 1, age_s: float = 2, **changed: Any
) -> QueueView:
    found = QueueView(
        name=name,
        event_class="trades",
        service="model",
        ready=3,
        consumers=consumers,
        publish_rate=None,
        net_rate=None,
        consume_rate=1.0,
        oldest_at=None,
        unused_since=None,
        alarm=None,
        reason=None,
        observed_at=ago(age_s),
        unread_since=None if consumers else ago(300),
        read_since=ago(900) if consumers else None,
        age_s=age_s,
    )
    return replace(found, **changed)


def gap(cause: str = "connection lost") -> GapView:
    return GapView(1, "linear", "publicTrade.BTCUSDT", ago(20), None, cause, None, None, None)


def subscription(**changed: Any) -> SubscriptionView:
    """One that is live."""
    found = SubscriptionView(
        id="0f8c2b6e-5d7a-4c1e-9b3a-7f60d2e41c58",
        channel_type="trades",
        category="linear",
        symbol="BTCUSDT",
        endpoint="linear",
        topic="publicTrade.BTCUSDT",
        routing_key="trades.linear.BTCUSDT",
        requesting_service="model",
        is_active=True,
        ended=None,
        generation=50,
        expires_at=None,
        created_at=ago(3000),
        updated_at=ago(3000),
        status="live",
        topic_reason=None,
        acked_at=ago(2990),
        last_event_at=ago(1),
        topic_state="live",
        topic_epoch="E1",
        topic_updated_at=ago(0.5),
    )
    return replace(found, **changed)


def balance(**changed: Any) -> BalanceView:
    """One that Bybit gave no numbers for."""
    found: dict[str, Any] = dict.fromkeys(field.name for field in fields(BalanceView))
    times = {"event_timestamp": NOW, "received_at": NOW, "recorded_at": NOW}
    return BalanceView(**found | times | {"id": 1, "coin": "USDT", "anomalies": []} | changed)
