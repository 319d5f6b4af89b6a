"""What every process exposes."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from common import metrics


def test_counters_have_no_second_series_for_their_creation():
    registry = CollectorRegistry()
    Counter(f"{metrics.PREFIX}_events", "Events.", registry=registry).inc()
    Histogram(f"{metrics.PREFIX}_seconds", "Time.", registry=registry).observe(1)
    shown = generate_latest(registry).decode()
    assert "wsgw_events_total 1.0" in shown
    assert "_created" not in shown
