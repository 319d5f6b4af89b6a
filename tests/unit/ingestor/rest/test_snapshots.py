"""When the state of the private topics is requested over REST."""

import json
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from common.channels import Channel, of_topic
from common.errors import Unavailable
from common.events import Event
from ingestor.feed.event_stream import EventStream, StreamSource
from ingestor.rest.client import RestSnapshot
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.http import RateLimited
from ingestor.rest.jobs.scheduler import JobWorker
from ingestor.rest.jobs.snapshots import SnapshotJob

WALLET, ORDERS, POSITIONS = (of_topic("private", topic) for topic in ("wallet", "order", "position"))
EXCHANGE_MS = 1_700_000_000_000


class Exchange:
    """Fails with the errors that are queued for it; remembers its calls."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.clock_failures: list[Exception] = []
        self.calls: list[str] = []

    def wallet(self) -> RestSnapshot:
        self._called("wallet", self.failures)
        return RestSnapshot(b'{"list":[]}', EXCHANGE_MS)

    def open_orders(self) -> list[RestSnapshot]:
        self._called("order", self.failures)
        return [RestSnapshot(b'{"category":"%s","list":[]}' % name, EXCHANGE_MS) for name in (b"spot", b"linear")]

    def positions(self) -> list[RestSnapshot]:
        self._called("position", self.failures)
        return []

    def clock(self) -> tuple[int, float]:
        self._called("clock", self.clock_failures)
        return EXCHANGE_MS, 0.0

    def _called(self, name: str, failures: list[Exception]) -> None:
        self.calls.append(name)
        if failures:
            raise failures.pop(0)


class Published:
    """The events that each topic's own stream made."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.topics: list[str] = []

    def __call__(self, channel: Channel, make: Callable[[EventStream], Event]) -> bool:
        self.events.append(make(EventStream(channel, StreamSource("mainnet", "01A"))))
        self.topics.append(channel.topic)
        return True


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Running:
    """The job as its thread runs it, with a clock that jumps to whatever is due."""

    def __init__(self, exchange: Exchange, published: Published) -> None:
        self.clock = ExchangeClock(wall_ms=lambda: EXCHANGE_MS - 500.0)
        self.job = SnapshotJob(exchange, self.clock, published, wallet_every_s=300)
        self._time = Time()
        self._worker = JobWorker(self.job, self._time)

    def until(self, end: float) -> None:
        while (request := self.job.requests.get(0)) or self._worker.due_at <= end:
            self._time.now = self._time.now if request else max(self._time.now, self._worker.due_at)
            self._worker.step(request)
        self._time.now = end


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def running(exchange: Exchange, published: Published) -> Running:
    return Running(exchange, published)


def test_each_topic_is_published_with_the_answer_to_its_own_request(running: Running, published: Published):
    running.job.request(ORDERS)
    running.job.request(POSITIONS)
    running.until(20)
    assert published.topics == ["order", "order"]
    bodies = [json.loads(event.body) for event in published.events]
    assert [(body["type"], body["data"]["category"]) for body in bodies] == [
        ("bybit.order.snapshot", "spot"),
        ("bybit.order.snapshot", "linear"),
    ]


def test_the_wallet_is_repeated_and_other_topics_are_not(running: Running, exchange: Exchange):
    for topic in (WALLET, ORDERS, POSITIONS):
        running.job.request(topic)
    running.until(901)
    assert [exchange.calls.count(name) for name in ("wallet", "order", "position")] == [4, 1, 1]


def test_requests_for_a_topic_that_wait_are_one(running: Running, exchange: Exchange):
    for _ in range(200):
        running.job.request(ORDERS)
    running.until(20)
    assert exchange.calls.count("order") == 1


def test_topics_that_rest_does_not_know_are_ignored(running: Running, exchange: Exchange):
    running.job.request(of_topic("linear", "tickers.BTCUSDT"))
    running.until(20)
    assert set(exchange.calls) == {"clock"}


def test_a_snapshot_that_failed_is_requested_again_with_a_fresh_clock(
    running: Running, exchange: Exchange, published: Published
):
    exchange.failures = [Unavailable("busy")] * 4
    running.job.request(ORDERS)
    running.until(29)
    assert published.topics == ["order", "order"]
    assert exchange.calls == ["clock", *["order", "clock"] * 4, "order"]


def test_after_five_failures_a_snapshot_is_given_up(running: Running, exchange: Exchange, published: Published):
    exchange.failures = [Unavailable("busy")] * 5
    running.job.request(ORDERS)
    with capture_logs() as logs:
        running.until(1000)
    assert (exchange.calls.count("order"), published.topics) == (5, [])
    [failed] = [log for log in logs if log["log_level"] == "error"]
    assert (failed["event"], failed["topic"], failed["error"]) == ("snapshot failed", "order", "busy")


def test_a_rate_limit_is_waited_for_and_holds_up_no_other_topic(
    running: Running, exchange: Exchange, published: Published
):
    exchange.failures = [RateLimited("HTTP 403", 600)]
    running.job.request(ORDERS)
    running.job.request(WALLET)
    with capture_logs() as logs:
        running.until(599)
    assert published.topics == ["wallet", "wallet"]
    delayed = [(log["topic"], log["retry_in_s"]) for log in logs if log["event"] == "snapshot delayed"]
    assert delayed == [("order", 600)]
    running.until(601)
    assert published.topics.count("order") == 2


def test_an_unforeseen_error_costs_one_snapshot(running: Running, exchange: Exchange, published: Published):
    exchange.failures = [ZeroDivisionError("not foreseen")]
    running.job.request(ORDERS)
    running.job.request(WALLET)
    with pytest.raises(ZeroDivisionError):
        running.until(20)
    running.until(301)
    assert published.topics == ["wallet", "wallet"]
    assert exchange.calls.count("order") == 1


def test_clocks_are_compared_at_the_start_every_30_seconds_and_on_request(running: Running, exchange: Exchange):
    running.until(61)
    assert exchange.calls == ["clock"] * 3
    assert running.clock.offset_ms == 500
    running.job.request_clock()
    running.until(62)
    assert exchange.calls == ["clock"] * 4


def test_a_clock_that_is_unavailable_hinders_no_snapshot(running: Running, exchange: Exchange, published: Published):
    exchange.clock_failures = [Unavailable("busy")]
    running.job.request(ORDERS)
    running.until(1)
    assert (running.clock.offset_ms, published.topics) == (None, ["order", "order"])
