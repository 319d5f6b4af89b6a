"""When a job runs, and what becomes of requests to it."""

import threading

import pytest
from structlog.testing import capture_logs

from common.backoff import Backoff
from common.errors import Unavailable
from ingestor.bybit.heartbeat import NEVER
from ingestor.rest.http import RateLimited
from ingestor.rest.jobs.scheduler import Job, JobWorker, RequestQueue
from tests.kit.waiting import eventually
from tests.kit.workers import at_work


class Hourly(Job[str]):
    """Fails with the errors that are queued for it."""

    name = "hourly"

    def __init__(self, backoff: Backoff | None = None) -> None:
        super().__init__(backoff=backoff)
        self.failures: list[Exception] = []
        self.ran_at: list[float] = []

    def run_due(self, now: float) -> None:
        self.ran_at.append(now)
        if self.failures:
            raise self.failures.pop(0)
        self.due_at = now + 3600


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def job() -> Hourly:
    return Hourly()


@pytest.fixture
def worker(job: Hourly, time: Time) -> JobWorker[str]:
    return JobWorker(job, time)


def run_until(worker: JobWorker[str], time: Time, end: float) -> None:
    """As the thread does, with a clock that jumps to whatever is due."""
    while worker.due_at <= end:
        time.now = max(time.now, worker.due_at)
        worker.step(None)
    time.now = end


def test_a_job_runs_at_the_start_and_whenever_it_is_due(job: Hourly, worker: JobWorker[str], time: Time):
    run_until(worker, time, 7300)
    assert job.ran_at == [0, 3600, 7200]


def test_a_job_that_is_not_due_does_not_run(job: Hourly, worker: JobWorker[str], time: Time):
    job.due_at = 10
    time.now = 9.9
    worker.step(None)
    assert job.ran_at == []


def test_a_request_makes_a_job_due(job: Hourly, worker: JobWorker[str], time: Time):
    run_until(worker, time, 100)
    worker.step("now")
    assert job.ran_at == [0, 100]
    assert worker.due_at == 3700


def test_a_failure_is_retried_at_once_and_then_with_backoff(job: Hourly, worker: JobWorker[str], time: Time):
    job.failures = [Unavailable("503")] * 4
    run_until(worker, time, 100)
    assert job.ran_at[:2] == [0, 0]
    assert len(job.ran_at) == 5
    assert 0 < job.ran_at[-1] <= 0.5 + 1 + 2


def test_a_job_sets_the_shortest_wait_after_a_failure(time: Time):
    job = Hourly()
    job.min_retry_s = 7.0
    job.failures = [Unavailable("503")]
    run_until(JobWorker(job, time), time, 100)
    assert job.ran_at == [0, 7]


def test_success_resets_the_backoff(job: Hourly, worker: JobWorker[str], time: Time):
    job.failures = [Unavailable("503")] * 3
    run_until(worker, time, 100)
    job.failures = [Unavailable("503")]
    worker.step("now")
    assert worker.due_at == 100, "the first retry comes at once"


def test_the_wait_of_a_rate_limit_is_kept(job: Hourly, worker: JobWorker[str], time: Time):
    job.failures = [RateLimited("HTTP 403", 600)]
    run_until(worker, time, 1000)
    assert job.ran_at == [0, 600]


def test_a_request_ends_a_backoff(job: Hourly, worker: JobWorker[str], time: Time):
    job.failures = [RateLimited("HTTP 403", 600)]
    worker.step(None)
    time.now = 5
    worker.step("now")
    assert job.ran_at == [0, 5]


def test_a_failure_is_logged_once_and_so_is_the_recovery(job: Hourly, worker: JobWorker[str], time: Time):
    job.failures = [Unavailable("503"), Unavailable("504")]
    with capture_logs() as logs:
        run_until(worker, time, 8000)
    assert [(log["event"], log["log_level"], log["job"]) for log in logs] == [
        ("rest job failed", "warning", "hourly"),
        ("rest job recovered", "info", "hourly"),
    ]
    assert logs[0]["error"] == "503"


def test_an_unforeseen_error_reaches_the_crew(job: Hourly, worker: JobWorker[str]):
    job.failures = [ZeroDivisionError("not foreseen")]
    with pytest.raises(ZeroDivisionError):
        worker.step(None)


def test_requests_are_taken_oldest_first():
    requests: RequestQueue[str] = RequestQueue()
    assert [requests.put(name) for name in ("a", "b")] == [True, True]
    assert [requests.get(0), requests.get(0), requests.get(0)] == ["a", "b", None]


def test_equal_requests_are_one_until_it_is_taken():
    requests: RequestQueue[str] = RequestQueue()
    for name in ("a", "b", "a"):
        assert requests.put(name)
    assert [requests.get(0), requests.get(0), requests.get(0)] == ["a", "b", None]
    assert requests.put("a")
    assert requests.get(0) == "a"


def test_a_full_queue_refuses_other_requests():
    requests: RequestQueue[int] = RequestQueue(max_requests=2)
    assert [requests.put(number) for number in (1, 2, 3, 2)] == [True, True, False, True]
    requests.get(0)
    assert requests.put(3)


def test_a_request_wakes_the_thread_that_waits():
    requests: RequestQueue[str] = RequestQueue()
    taken: list[str | None] = []
    waiting = threading.Thread(target=lambda: taken.append(requests.get(10)))
    waiting.start()
    requests.put("a")
    waiting.join(5)
    assert taken == ["a"]


def test_the_thread_runs_the_job_and_its_requests_and_stops(job: Hourly):
    worker = JobWorker(job)
    assert worker.name == "hourly"
    with at_work(worker):
        eventually(lambda: len(job.ran_at) == 1, 5, "it ran")
        job.requests.put("now")
        eventually(lambda: len(job.ran_at) == 2, 5, "it ran for the request")


def test_a_worker_that_is_started_again_does_not_wait_for_a_backoff(job: Hourly):
    worker = JobWorker(job)
    job.failures = [RateLimited("HTTP 403", 600)]
    with at_work(worker):
        eventually(lambda: len(job.ran_at) == 1, 5, "it ran and failed")
    with at_work(worker):
        eventually(lambda: len(job.ran_at) == 2, 5, "it ran again")
    assert job.backoff.failures == 0


def test_the_thread_of_a_job_that_is_never_due_stops(job: Hourly):
    job.due_at = NEVER
    with at_work(JobWorker(job)):
        pass
    assert job.ran_at == []
