"""Requests for a comparison of the balances with the exchange."""

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest

from common.channels import Channel, of_topic
from common.errors import Unavailable
from common.events import Event
from common.tables.balance_syncs import DueSync
from ingestor.feed.event_stream import EventStream, StreamSource
from ingestor.rest.client import RestSnapshot
from ingestor.rest.http import RateLimited
from ingestor.rest.jobs.scheduler import JobWorker
from ingestor.rest.jobs.wallet_sync import WalletSyncJob

FIRST, SECOND, LATER = UUID(int=1), UUID(int=2), UUID(int=3)
WALLET = EventStream(of_topic("private", "wallet"), StreamSource("simulator", "01J"))
EVENT_ID = WALLET.snapshot_id(b"{}", 5)


class Exchange:
    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.calls = 0

    def wallet(self) -> RestSnapshot:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return RestSnapshot(b"{}", 5)


class Requests:
    """What waits, and what was written, in sequence with what was published."""

    def __init__(self) -> None:
        self.syncs: list[DueSync] = []
        self.log: list[tuple[object, ...]] = []
        self.subscribed = True
        self.available = True

    def waiting(self) -> list[DueSync]:
        if not self.available:
            raise Unavailable("no database")
        return self.syncs

    def fetched(self, ids: Sequence[UUID], event_id: str) -> None:
        self.log.append(("fetched", *ids, event_id))

    def failed(self, ids: Sequence[UUID], reason: str) -> None:
        self.log.append(("failed", *ids, reason))

    def publish(self, channel: Channel, make: Callable[[EventStream], Event]) -> bool:
        self.log.append(("published", channel.topic, make(WALLET).id))
        return self.subscribed


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def job(exchange: Exchange, requests: Requests) -> WalletSyncJob:
    return WalletSyncJob(requests, exchange, WALLET, requests.publish)


def test_one_snapshot_answers_all_that_is_due_and_is_named_before_it_is_published(
    job: WalletSyncJob, requests: Requests, exchange: Exchange
):
    requests.syncs = [DueSync(FIRST, 0, None), DueSync(SECOND, 0, None), DueSync(LATER, 3, None)]
    job.run_due(now=0.0)
    assert requests.log == [("fetched", FIRST, SECOND, EVENT_ID), ("published", "wallet", EVENT_ID)]
    assert exchange.calls == 1


def test_without_requests_nothing_is_fetched(job: WalletSyncJob, requests: Requests, exchange: Exchange):
    requests.syncs = [DueSync(LATER, 3, None)]
    job.run_due(now=0.0)
    assert (exchange.calls, requests.log) == (0, [])


@pytest.mark.parametrize(("due_in_s", "due_at"), [([], 10.5), ([3.0], 10.5), ([0.2, 0.4], 10.2), ([0, 0.3], 10.3)])
def test_the_next_poll_is_half_a_second_away_or_sooner(
    job: WalletSyncJob, requests: Requests, due_in_s: list[float], due_at: float
):
    requests.syncs = [DueSync(FIRST, each, None) for each in due_in_s]
    job.run_due(now=10.0)
    assert job.due_at == due_at


def test_a_failure_is_retried_once_at_once(job: WalletSyncJob, requests: Requests, exchange: Exchange):
    requests.syncs = [DueSync(FIRST, 0, None)]
    exchange.failures = [Unavailable("503")]
    job.run_due(now=0.0)
    assert exchange.calls == 2
    assert requests.log[0] == ("fetched", FIRST, EVENT_ID)


def test_a_second_failure_is_the_answer(job: WalletSyncJob, requests: Requests, exchange: Exchange):
    requests.syncs = [DueSync(FIRST, 0, None)]
    exchange.failures = [Unavailable("503"), Unavailable("x" * 500)]
    job.run_due(now=0.0)
    assert requests.log == [("failed", FIRST, "x" * 200)]


def test_a_rate_limit_is_not_retried(job: WalletSyncJob, requests: Requests, exchange: Exchange):
    requests.syncs = [DueSync(FIRST, 0, None)]
    exchange.failures = [RateLimited("HTTP 429", 7)]
    job.run_due(now=0.0)
    assert (exchange.calls, requests.log) == (1, [("failed", FIRST, "HTTP 429; retry in 7 s")])


def test_without_a_private_connection_the_request_fails(job: WalletSyncJob, requests: Requests):
    requests.syncs = [DueSync(FIRST, 0, None)]
    requests.subscribed = False
    job.run_due(now=0.0)
    assert requests.log[-1] == ("failed", FIRST, "the private connection is not subscribed")


def test_a_database_that_is_unavailable_is_polled_again_at_once(job: WalletSyncJob, requests: Requests):
    requests.available = False
    worker = JobWorker(job, lambda: 0.0)
    worker.step(None)
    assert worker.due_at == 0.0
    requests.available = True
    worker.step(None)
    assert worker.due_at == 0.5
