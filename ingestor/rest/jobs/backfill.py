"""Requests the history of a gap, outside the threads of the connections."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import structlog

from common.channels import Channel
from ingestor.bybit.heartbeat import NEVER
from ingestor.feed.backfill import BackfillRequest
from ingestor.rest.client import RestHistory
from ingestor.rest.jobs.scheduler import Job

log = structlog.get_logger(__name__)

_DELIVERY_S = 0.25  # to hand over the answer in time
_MAX_REQUESTS = 1000  # one per topic and gap


@dataclass(frozen=True, slots=True)
class BackfillTask:
    """A request of a feed, and the callback for the answer, called in the job's thread.

    An answer after `request.answer_by` is dropped.
    """

    request: BackfillRequest
    answer: Callable[[RestHistory], None]


class HistorySource(Protocol):
    def history(self, channel: Channel, since_ms: int, to_ms: int, until: float) -> RestHistory: ...


class BackfillJob(Job[BackfillTask]):
    """One request after the other."""

    due_at = NEVER

    def __init__(
        self,
        kind: str,
        source: HistorySource,
        max_requests: int = _MAX_REQUESTS,
    ) -> None:
        super().__init__(max_requests)
        self.name = f"backfill {kind}"
        self._source = source

    def request(self, task: BackfillTask) -> None:
        """Answered at once, with nothing, when too many requests wait."""
        if not self.requests.put(task):
            log.error("backfill queue full", job=self.name, topic=task.request.channel.topic)
            task.answer(RestHistory(failures=["too many backfill requests"]))

    def run_due(self, now: float) -> None:
        """There is nothing to do without a request."""

    def handle(self, task: BackfillTask, now: float) -> None:
        request = task.request
        until = request.answer_by - _DELIVERY_S
        if until > now:
            task.answer(self._source.history(request.channel, request.since_ms, request.to_ms, until))


class BackfillJobs:
    """Executions, orders and market data do not wait for each other."""

    def __init__(self, source: HistorySource) -> None:
        self._by_type = {kind: BackfillJob(kind, source) for kind in ("execution", "order")}
        self._markets = BackfillJob("markets", source)

    def __iter__(self) -> Iterator[BackfillJob]:
        yield from (*self._by_type.values(), self._markets)

    def request(self, request: BackfillRequest, answer: Callable[[RestHistory], None]) -> None:
        """`answer` is called once, or not at all when it would come too late."""
        job = self._by_type.get(request.channel.channel_type, self._markets)
        job.request(BackfillTask(request, answer))
