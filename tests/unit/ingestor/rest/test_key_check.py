"""Expiry and permissions of the API key."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from common.errors import Unavailable
from ingestor.rest.client import ApiKeyInfo
from ingestor.rest.jobs.key_check import KeyCheckJob, complaints, seconds_left
from ingestor.rest.jobs.scheduler import JobWorker

NOW = datetime(2026, 11, 20, tzinfo=UTC)
RIGHTS = {"ContractTrade": ["Order", "Position"], "Spot": [], "Wallet": ["AccountTransfer"]}


@pytest.mark.parametrize(
    ("left", "complaint"),
    [
        (timedelta(days=7, seconds=1), None),
        (timedelta(days=6, hours=1), "it expires in 6 days"),
        (timedelta(hours=1), "it expires in 0 days"),
        (-timedelta(hours=1), "it has expired"),
    ],
)
def test_a_key_that_expires_within_a_week_is_reported(left: timedelta, complaint: str | None):
    assert complaints(ApiKeyInfo(NOW + left, RIGHTS), NOW) == ([complaint] if complaint else [])


def test_a_key_without_an_expiry_causes_no_complaint():
    assert complaints(ApiKeyInfo(None, RIGHTS), NOW) == []


@pytest.mark.parametrize("rights", [{}, {"Wallet": ["AccountTransfer"]}, {"ContractTrade": [], "Spot": []}])
def test_a_key_that_receives_no_orders_is_reported(rights: dict[str, list[str]]):
    [complaint] = complaints(ApiKeyInfo(None, rights), NOW)
    assert "no orders" in complaint


def test_a_key_that_does_not_expire_has_forever_left():
    assert seconds_left(None, NOW) == float("inf")


class Source:
    """Fails with the errors that are queued for it."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    def key(self) -> ApiKeyInfo:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return ApiKeyInfo(NOW + timedelta(days=1), {})


def expires_in_s() -> float | None:
    return REGISTRY.get_sample_value("wsgw_api_key_expires_in_seconds")


def test_a_key_is_checked_at_the_start_and_every_six_hours():
    source = Source()
    job = KeyCheckJob(source, lambda: True, lambda: NOW)
    job.run_due(now=5.0)
    assert (source.calls, job.due_at) == (1, 5.0 + 6 * 3600)
    assert expires_in_s() == 86_400


def test_the_gauge_counts_down():
    now = [NOW]
    KeyCheckJob(Source(), lambda: True, lambda: now[0]).run_due(now=0.0)
    now[0] += timedelta(hours=1)
    assert expires_in_s() == 82_800


def test_every_complaint_is_a_warning():
    with capture_logs() as logs:
        KeyCheckJob(Source(), lambda: True, lambda: NOW).run_due(now=0.0)
    assert [(log["event"], log["log_level"], log["expires_at"]) for log in logs] == [
        ("API key needs attention", "warning", "2026-11-21T00:00:00+00:00"),
        ("API key needs attention", "warning", "2026-11-21T00:00:00+00:00"),
        ("API key checked", "info", "2026-11-21T00:00:00+00:00"),
    ]


def test_a_check_that_fails_is_repeated_a_second_later():
    now = [0.0]
    source = Source(Unavailable("503"))
    worker = JobWorker(KeyCheckJob(source, lambda: True, lambda: NOW), lambda: now[0])
    worker.step(None)
    assert worker.due_at == 1.0
    now[0] = 1.0
    worker.step(None)
    assert source.calls == 2


def test_without_a_key_there_is_nothing_to_check():
    source = Source()
    job = KeyCheckJob(source, lambda: False, lambda: NOW)
    job.run_due(now=0.0)
    assert (source.calls, job.due_at) == (0, 6 * 3600)


def test_new_credentials_are_checked_at_once():
    source = Source()
    job = KeyCheckJob(source, lambda: True, lambda: NOW)
    worker = JobWorker(job, lambda: 0.0)
    worker.step(None)
    job.request()
    job.request()
    while request := job.requests.get(0):
        worker.step(request)
    assert source.calls == 2
