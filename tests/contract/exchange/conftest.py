"""The exchange side as it is put together in the ingestor, against a simulator; its events end in a list."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest
import requests

from common import settings
from common.channels import of_topic
from common.events import Event
from common.lifecycle import WORKER_FAILURES, Stops, Worker, WorkerGroup, start
from common.settings import Credentials
from ingestor.bybit.session import Session, Timing
from ingestor.control.checkpoint import Checkpoint, checkpoint_of
from ingestor.control.gap_store import GapStore
from ingestor.feed.event_stream import EventStreams, StreamSource
from ingestor.feed.feed import Feed
from ingestor.feed.gaps import Gap
from ingestor.rest.account import Account
from ingestor.rest.client import RestClient
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.jobs.backfill import BackfillJobs
from ingestor.rest.jobs.scheduler import Job, JobWorker
from ingestor.rest.jobs.snapshots import SnapshotJob
from ingestor.sockets.allocation import Allocation
from ingestor.sockets.connect_budget import ConnectBudget
from ingestor.sockets.interfaces import Surroundings
from ingestor.sockets.poller import TransportPoller
from ingestor.sockets.pool import ConnectionPool, url_of
from ingestor.sockets.rotation import MAX_AGE_S
from ingestor.sockets.transport import open_transport
from ingestor.sockets.worker import SocketWorker
from tests.contract.simulator.conftest import Simulator, started
from tests.kit.waiting import eventually

Body = dict[str, Any]
CREDENTIALS = Credentials("simulator-key", "simulator-secret")


class Events:
    """Takes everything, and keeps it."""

    def __init__(self) -> None:
        self._kept: list[Event] = []
        self.failures = 0
        self.fails_on: list[str] = []  # what a routing key must contain, for each failure to come

    def put(self, events: Sequence[Event], *, private: bool) -> bool:
        if self.fails_on and any(self.fails_on[0] in event.routing_key for event in events):
            self.failures += 1
            raise RuntimeError(f"not foreseen: {self.fails_on.pop(0)}")
        self._kept += events
        return True

    def all(self) -> list[Body]:
        return [json.loads(event.body) for event in list(self._kept)]

    def newest(self) -> list[Event]:
        return self._kept[-10:]

    def of(self, topic: str) -> list[Body]:
        return [body for body in self.all() if body["subject"] == topic]


def worker_failures() -> float:
    """Of all workers that this process has had."""
    samples = (sample for metric in WORKER_FAILURES.collect() for sample in metric.samples)
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


class World:
    """Start it with `want`."""

    def __init__(
        self,
        simulator: Simulator,
        earlier: Sequence[Gap] = (),
        oldest_s: float = MAX_AGE_S,
        credentials: Credentials | None = CREDENTIALS,
    ) -> None:
        self.simulator = simulator
        self.events = Events()
        self.bybit = settings.Bybit("simulator", credentials, simulator.ws_url, simulator.rest_url)
        self.account = Account(self.bybit.credentials)
        self.clock, self.gaps = ExchangeClock(), GapStore(earlier)
        self.streams = EventStreams(StreamSource("simulator", "01J"))
        self.pool = ConnectionPool()
        self.rest = RestClient(self.bybit, self.account, self.clock.now_ms)
        self.checkpoints: list[tuple[Checkpoint, int]] = []
        self._oldest_s = oldest_s
        self._failures_before = worker_failures()
        self._stops: Stops = SimpleQueue()
        self.backfill = BackfillJobs(self.rest)
        self.snapshots = SnapshotJob(self.rest, self.clock, self.pool.publish)
        self.around = Surroundings(
            outbox=self.events,
            clocks=self.clock,
            budget=ConnectBudget(),
            changed=lambda: None,
            live=self._went_live,
            subscribed=self.snapshots.request,
            request_backfill=self.backfill.request,
            clock_doubted=self.snapshots.request_clock,
        )
        self.sockets = WorkerGroup("sockets", grace_s=12.0)
        self.allocation = Allocation(self.pool, self._open_worker, lambda worker: self.sockets.add(worker, worker.wake))
        jobs: list[Job[Any]] = [self.snapshots, *self.backfill]
        workers: list[Worker | WorkerGroup] = [*map(JobWorker, jobs), self.sockets]
        self._running = [start(each, self._stops) for each in workers]

    def stop(self) -> None:
        for each in reversed(self._running):
            each.stop()
        assert [each for each in reversed(self._running) if not each.ended(10)] == []
        assert self._stops.empty(), f"{self._stops.get()}"
        assert worker_failures() - self._failures_before <= self.events.failures, "a worker failed"

    def _open_worker(self, endpoint: str, number: int) -> SocketWorker:
        return SocketWorker(
            number,
            partial(self._open_session, endpoint),
            partial(open_transport, url_of(self.bybit, endpoint), headers=self.bybit.headers),
            TransportPoller(),
            Feed(endpoint, self.streams.of, self.gaps),
            self.around,
            self._oldest_s,
        )

    def _open_session(self, endpoint: str) -> Session:
        credentials = self.account.credentials if endpoint == "private" else None
        return Session(endpoint, Timing(), time.monotonic(), credentials)

    def renew(self, credentials: Credentials | None) -> None:
        """As after SIGHUP."""
        self.account.credentials = credentials
        self.pool.renew(credentials)

    def _went_live(self) -> None:
        """What the checkpoint would hold, and how much had come by then."""
        self.checkpoints.append((checkpoint_of(self.pool.observed(), time.time_ns(), []), len(self.events.all())))

    def want(self, endpoint: str, *topics: str) -> None:
        self.allocation.want([of_topic(endpoint, topic) for topic in topics])

    # -- the exchange -----------------------------------------------------------------------------------------

    def control(self, act: str, /, **body: object) -> None:
        answer = requests.post(f"{self.simulator.rest_url}/control/{act}", json=body, timeout=5)
        assert answer.status_code < 300, answer.text

    def fault(self, kind: str, /, **details: object) -> None:
        self.control("faults", kind=kind, **details)

    # -- what came ----------------------------------------------------------------------------------------------

    def live(self, topic: str) -> list[Body]:
        return [event for event in self.events.of(topic) if event["origin"] == "live"]

    def flows(self, topic: str, more: int = 3) -> None:
        seen = len(self.live(topic))
        eventually(lambda: len(self.live(topic)) >= seen + more, 20, f"{topic} flows")

    def closed(self, topic: str, number: int = 0, within_s: float = 20.0) -> Body:
        """The closed window with this number, counted from 0."""

        def closed() -> list[Body]:
            gaps = [event["data"] for event in self.events.of(topic) if event["type"] == "bybit.gap"]
            return [gap for gap in gaps if gap["state"] == "closed"][number:]

        return eventually(closed, within_s, f"a gap of {topic} is closed")[0]

    def row(self, topic: str) -> Gap:
        """The newest window as the table would have it."""
        return next(gap for gap in reversed(self.gaps.unwritten()) if gap.topic == topic)

    def assert_counted(self, topic: str) -> None:
        counted = [int(event["sequence"]) for event in self.events.of(topic)]
        assert counted == list(range(1, len(counted) + 1))


@pytest.fixture(scope="session")
def busy() -> Iterator[Simulator]:
    """An account that trades four times a second."""
    running = started("--fill-every", "0.25", "--latency", "0.005")
    yield running
    assert running.stop() == 0


@pytest.fixture
def open_world(busy: Simulator) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def opened(**more: Any) -> World:
        worlds.append(World(busy, **more))
        return worlds[-1]

    yield opened
    requests.delete(f"{busy.rest_url}/control/faults", timeout=5)
    for world in worlds:
        world.stop()


@pytest.fixture
def world(open_world: Callable[..., World]) -> World:
    return open_world()
