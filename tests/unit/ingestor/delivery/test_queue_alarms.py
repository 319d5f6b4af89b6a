"""When a queue needs a person's attention."""

import pytest
from structlog.testing import capture_logs

from ingestor.delivery.queue_alarms import Alarm, Level, MonitoredQueue, alarm_of
from ingestor.delivery.queue_inspection import log_alarm


def alarm(name: str = "ws-gateway.trades.demo", ready: int = 0, consumers: int = 1, unread_for_s: float = 0.0) -> Alarm:
    limit = None if name.endswith("persister") else 100_000
    return alarm_of(MonitoredQueue(name, ready, consumers, limit, unread_for_s))


@pytest.mark.parametrize(
    ("ready", "level"),
    [
        (999, Level.OK),
        (1_000, Level.WARNING),
        (10_000, Level.CRITICAL),
        (80_000, Level.CRITICAL),
    ],
)
def test_a_backlog_raises_an_alarm(ready: int, level: Level):
    assert alarm(ready=ready).level is level


def test_a_queue_that_is_nearly_full_raises_an_alarm_before_it_drops():
    small = [alarm_of(MonitoredQueue("ws-gateway.trades.demo", ready, 1, 100, 0.0)).level for ready in (79, 80, 95)]
    assert small == [Level.OK, Level.WARNING, Level.CRITICAL]


def test_a_service_queue_without_a_consumer_raises_an_alarm_after_ten_minutes():
    assert alarm(consumers=0, unread_for_s=599).level is Level.OK
    assert "10 min" in str(alarm(consumers=0, unread_for_s=600).reason)


def test_a_class_queue_needs_no_consumer():
    assert alarm("ws-gateway.trades", ready=99_999, consumers=0, unread_for_s=1e6).level is Level.OK


def test_two_consumers_on_a_class_queue_are_pointed_to_service_queues():
    found = alarm("ws-gateway.trades", consumers=2)
    assert found.level is Level.WARNING
    assert "ws-gateway.trades.<service>" in str(found.reason)
    assert alarm("ws-gateway.trades.demo", consumers=2).level is Level.OK


def test_refused_messages_raise_an_alarm():
    assert alarm("ws-gateway.dead", ready=1, consumers=0).level is Level.WARNING
    assert alarm("ws-gateway.dead", ready=0, consumers=0).level is Level.OK


def test_a_queue_without_limits_can_still_have_a_backlog():
    assert alarm("ws-gateway.balance.persister", ready=10_000).level is Level.CRITICAL


@pytest.mark.parametrize(
    ("level", "written_as"), [(Level.OK, "info"), (Level.WARNING, "warning"), (Level.CRITICAL, "error")]
)
def test_an_alarm_is_logged_at_its_own_level(level: Level, written_as: str):
    with capture_logs() as logged:
        log_alarm("ws-gateway.trades.demo", Alarm(level, "why"), Level.WARNING)
    [event] = logged
    assert (event["event"], event["log_level"], event["alarm"], event["was"]) == (
        "queue alarm",
        written_as,
        str(level),
        "warning",
    )
