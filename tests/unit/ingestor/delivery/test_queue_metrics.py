"""The queues as Prometheus sees them."""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest

from ingestor.delivery.management import Consumption
from ingestor.delivery.queue_alarms import Alarm, Level
from ingestor.delivery.queue_metrics import QueueMetrics
from ingestor.delivery.queue_monitor import Depth

NAME = "ws-gateway.trades.model"


def shown(consumption: dict[str, Consumption]) -> list[str]:
    depth = Depth(NAME, ready=7, consumers=1, net_rate=None, observed_at=0.0, alarm=Alarm(Level.CRITICAL, "why"))
    registry = CollectorRegistry()
    registry.register(QueueMetrics(lambda: {NAME: depth}, lambda: consumption))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_what_is_known_of_a_queue_has_a_sample():
    oldest = datetime(2026, 1, 1, tzinfo=UTC)
    assert shown({NAME: Consumption(2.5, oldest)}) == [
        f'wsgw_queue_ready{{queue="{NAME}"}} 7.0',
        f'wsgw_queue_consumers{{queue="{NAME}"}} 1.0',
        f'wsgw_queue_alarm{{queue="{NAME}"}} 2.0',
        f'wsgw_queue_consume_rate{{queue="{NAME}"}} 2.5',
        f'wsgw_queue_oldest_timestamp_seconds{{queue="{NAME}"}} 1.7672256e+09',
    ]


def test_what_is_unknown_has_none():
    assert [line for line in shown({}) if "rate" in line or "oldest" in line] == []
