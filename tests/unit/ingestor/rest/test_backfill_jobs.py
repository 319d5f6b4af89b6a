"""Requests for the history of a gap."""

from structlog.testing import capture_logs

from common.channels import Channel, of_topic
from ingestor.feed.backfill import BackfillRequest
from ingestor.rest.client import RestHistory
from ingestor.rest.jobs.backfill import BackfillJob, BackfillJobs, BackfillTask
from ingestor.rest.jobs.scheduler import JobWorker

EXECUTION, ORDER = of_topic("private", "execution"), of_topic("private", "order")
TRADES, CANDLES = of_topic("linear", "publicTrade.BTCUSDT"), of_topic("linear", "kline.1.BTCUSDT")


class Source:
    def __init__(self) -> None:
        self.requests: list[tuple[Channel, int, int, float]] = []

    def history(self, channel: Channel, since_ms: int, to_ms: int, until: float) -> RestHistory:
        self.requests.append((channel, since_ms, to_ms, until))
        return RestHistory(answered=1)


def answered(job: BackfillJob, task: BackfillTask, now: float) -> None:
    job.request(task)
    JobWorker(job, lambda: now).step(job.requests.get(0))


def test_a_request_is_answered_with_the_history_and_a_quarter_of_a_second_to_spare():
    source, answers = Source(), list[RestHistory]()
    answered(BackfillJob("markets", source), BackfillTask(BackfillRequest(TRADES, 1, 2, 10.0), answers.append), now=9.7)
    assert source.requests == [(TRADES, 1, 2, 9.75)]
    assert answers == [RestHistory(answered=1)]


def test_a_request_that_waited_for_too_long_is_dropped():
    source, answers = Source(), list[RestHistory]()
    answered(
        BackfillJob("markets", source), BackfillTask(BackfillRequest(TRADES, 1, 2, 10.0), answers.append), now=9.75
    )
    assert (source.requests, answers) == ([], [])


def test_without_requests_nothing_is_due():
    job = BackfillJob("markets", Source())
    assert JobWorker(job, lambda: 1e9).due_at == float("inf")


def test_a_full_queue_answers_at_once():
    source, answers = Source(), list[RestHistory]()
    job = BackfillJob("markets", source, max_requests=1)
    job.request(BackfillTask(BackfillRequest(TRADES, 1, 2, 10.0), answers.append))
    assert answers == []
    with capture_logs() as logs:
        job.request(BackfillTask(BackfillRequest(CANDLES, 1, 2, 10.0), answers.append))
    assert [(answer.healed, answer.failures) for answer in answers] == [("no", ["too many backfill requests"])]
    assert [(log["event"], log["topic"]) for log in logs] == [("backfill queue full", CANDLES.topic)]


def test_executions_and_orders_do_not_wait_for_each_other_nor_for_markets():
    jobs = BackfillJobs(Source())
    for channel in (EXECUTION, ORDER, TRADES, CANDLES):
        jobs.request(BackfillRequest(channel, 1, 2, 10.0), lambda _: None)
    waiting = {job.name: [job.requests.get(0) for _ in range(2)] for job in jobs}
    topics = {name: [each.request.channel.topic for each in found if each] for name, found in waiting.items()}
    assert topics == {
        "backfill execution": ["execution"],
        "backfill order": ["order"],
        "backfill markets": [TRADES.topic, CANDLES.topic],
    }
