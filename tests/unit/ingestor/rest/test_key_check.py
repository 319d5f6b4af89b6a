"""Looking after the API key."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from common.errors import Unavailable
from ingestor.rest.client import ApiKeyInfo
from ingestor.rest.jobs.key_check import KeyCheckJob, complaints
from tests.kit.waiting import eventually

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
def test_a_key_that_ends_within_a_week_is_told(left: timedelta, complaint: str | None):
    assert complaints(ApiKeyInfo(NOW + left, RIGHTS), NOW) == ([complaint] if complaint else [])


def test_a_key_without_an_end_is_no_cause_for_complaint():
    assert complaints(ApiKeyInfo(None, RIGHTS), NOW) == []


@pytest.mark.parametrize("rights", [{}, {"Wallet": ["AccountTransfer"]}, {"ContractTrade": [], "Spot": []}])
def test_a_key_that_may_see_no_orders_is_told(rights: dict[str, list[str]]):
    [complaint] = complaints(ApiKeyInfo(None, rights), NOW)
    assert "no orders" in complaint


class Source:
    """Away at first."""

    def __init__(self) -> None:
        self.looks = 0

    def key(self) -> ApiKeyInfo:
        self.looks += 1
        if self.looks == 1:
            raise Unavailable("503")
        return ApiKeyInfo(datetime.now(UTC) + timedelta(days=1), RIGHTS)


@pytest.fixture
def source() -> Iterator[Source]:
    source, stop = Source(), threading.Event()
    check = KeyCheckJob(source, given=lambda: True)
    thread = threading.Thread(target=check.run, args=(stop,))
    thread.start()
    yield source
    stop.set()
    thread.join(5)


def test_a_look_that_fails_is_repeated_and_the_gauge_counts_down(source: Source):
    eventually(lambda: source.looks == 2, 10, "it is looked up again")
    left_s = eventually(lambda: REGISTRY.get_sample_value("wsgw_api_key_expires_in_seconds"), 5, "the gauge is set")
    assert 86_300 < left_s <= 86_400
