"""The ingestor: which objects exist, with which settings."""

import gc
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import REGISTRY
from sqlalchemy import Engine

from common import database, entrypoint, logs
from common.channels import FIXED, BadChannel, Channel, of_topic
from common.lifecycle import Worker, WorkerGroup, run_until_stopped
from common.metrics import MetricsServer
from common.settings import Credentials, process_environment
from common.tables.subscriptions import DesiredSubscription
from ingestor import spool_folder
from ingestor.bybit.session import Session, Timing
from ingestor.control.cache import SubscriptionCache
from ingestor.control.checkpoint import Checkpoint, CheckpointWriter, SafePoint, checkpoint_of, read_checkpoint
from ingestor.control.credentials import CredentialsWatch
from ingestor.control.gap_store import GapStore
from ingestor.control.notifications import NotificationListener
from ingestor.control.pruning import Pruning
from ingestor.control.reconciler import Reconciler
from ingestor.control.report_store import PostgresReports
from ingestor.control.reporter import Reporter, ReportSources
from ingestor.control.state_file import StateFile
from ingestor.control.subscription_store import PostgresSubscriptions
from ingestor.delivery.broker_link import Link, worst
from ingestor.delivery.disk_probe import DiskProbe
from ingestor.delivery.management import Management
from ingestor.delivery.outbox import Lane, Outbox
from ingestor.delivery.plan import common_plan
from ingestor.delivery.publisher import Publisher
from ingestor.delivery.queue_metrics import QueueMetrics
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.spool import Spool
from ingestor.delivery.topology import Topology
from ingestor.epoch import new_epoch
from ingestor.feed.event_stream import EventStreams, StreamSource
from ingestor.feed.feed import Feed
from ingestor.rest.account import Account
from ingestor.rest.client import RestClient
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.jobs.backfill import BackfillJobs
from ingestor.rest.jobs.instruments import InstrumentsJob, InstrumentTable
from ingestor.rest.jobs.key_check import KeyCheckJob
from ingestor.rest.jobs.scheduler import Job, JobWorker
from ingestor.rest.jobs.snapshots import SnapshotJob
from ingestor.rest.jobs.wallet_sync import SyncTable, WalletSyncJob
from ingestor.settings import Settings
from ingestor.sockets.allocation import Allocation
from ingestor.sockets.connect_budget import ConnectBudget
from ingestor.sockets.interfaces import Surroundings
from ingestor.sockets.poller import TransportPoller
from ingestor.sockets.pool import ConnectionPool, ConnectionWorker, url_of
from ingestor.sockets.transport import open_transport
from ingestor.sockets.worker import SocketWorker

log = structlog.get_logger(__name__)

GRACE_S = 15.0  # below supervisor's stopwaitsecs
_SOCKETS_GRACE_S = 12.0  # a connect that is under way ends within ten
_JOBS_GRACE_S = 1.0  # a REST call may hang, and its worker holds nothing that could be lost
_MARKET_EVENTS = 20_000
_PRIVATE_EVENTS = 2_000
_LANE_BYTES = 64 * 2**20
_PRIVATE_SPOOL_BYTES = 256 * 2**20
_WALLET = of_topic(*FIXED["balance"])


def main(env: Mapping[str, str]) -> int:
    settings = Settings.from_env(env)
    logs.configure("ingestor", settings.log_level)
    lock = spool_folder.lock(settings.spool_dir)
    epoch = new_epoch(time.time_ns() // 1_000_000)
    database.limit_waits()
    engine = database.engine(settings.postgres, f"{settings.service_name} ingestor", pool_size=3)
    cache = SubscriptionCache(state_file(settings.spool_dir, "subscriptions.json", former="wishes.json"))

    delivery = build_delivery(settings)
    exchange = build_exchange(settings, epoch, engine, delivery, cache)
    control = build_control(settings, epoch, engine, delivery, exchange, cache)
    metrics = MetricsServer(settings.bind, settings.metrics_port)
    workers: list[Worker | WorkerGroup] = [
        metrics,
        control.reporter,
        *delivery.workers,
        *exchange.workers,
        *control.workers,
    ]

    gc.collect()
    gc.freeze()  # a full collection took 60 ms with the objects that stay for the whole run
    log.info("starting", epoch=epoch, environment=settings.bybit.environment)
    with nullcontext() if lock is None else closing(lock):
        return run_until_stopped(workers, GRACE_S)


@dataclass(frozen=True, slots=True)
class DeliverySide:
    """From an event to the broker's confirm."""

    outbox: Outbox
    private: Publisher
    market: Publisher
    topology: Topology
    management: Management
    disk: DiskProbe

    @property
    def workers(self) -> list[Worker]:
        return [self.topology, self.private, self.market]

    def link(self) -> Link:
        """The worse of the two connections to the broker."""
        return worst([self.private.link, self.market.link])

    def connected(self) -> bool:
        """Whether at least one of them is connected."""
        return self.private.link.connected or self.market.link.connected


def build_delivery(settings: Settings) -> DeliverySide:
    spools = open_spools(settings.spool_dir, settings.market_spool_bytes)
    outbox = make_outbox(spools, settings.market_spool_bytes)
    smallest_room = min(2**20, settings.market_spool_bytes // 64)
    traffic = Traffic()
    plan = common_plan(settings.class_queues, settings.retention, settings.market_queue_type)
    topology = Topology(settings.rabbitmq, plan, traffic)
    management = Management(settings.rabbitmq)
    REGISTRY.register(QueueMetrics(lambda: topology.depths, lambda: management.by_queue))
    publisher = partial(
        Publisher, rabbitmq=settings.rabbitmq, topology=topology, traffic=traffic, window=settings.publish_window
    )
    return DeliverySide(
        outbox=outbox,
        private=publisher("private", outbox.private),
        market=publisher("market", outbox.market, retention_s=settings.retention.hours * 3600),
        topology=topology,
        management=management,
        disk=DiskProbe(
            settings.spool_dir, *spools, smallest_room, lambda: outbox.private.failure or outbox.market.failure
        ),
    )


@dataclass(frozen=True, slots=True)
class ExchangeSide:
    """Connections to Bybit, and the REST jobs."""

    account: Account
    clock: ExchangeClock
    gaps: GapStore
    pool: ConnectionPool
    allocation: Allocation
    key_check: KeyCheckJob
    changed: threading.Event  # `pool.observed()` shows something new
    workers: list[Worker | WorkerGroup]


def build_exchange(
    settings: Settings,
    epoch: str,
    engine: Engine,
    delivery: DeliverySide,
    cache: SubscriptionCache,
) -> ExchangeSide:
    bybit = settings.bybit
    file = state_file(settings.spool_dir, "checkpoint.json", former="alive.json")
    gaps = GapStore(read_checkpoint(file).missed([_WALLET, *channels_of(cache.last())]))
    streams = EventStreams(StreamSource(bybit.environment, epoch))
    account = Account(bybit.credentials)
    clock = ExchangeClock()
    pool = ConnectionPool()
    delivery.outbox.market.on_dropped(pool.dropped)
    rest = RestClient(bybit, account, clock.now_ms)
    backfill, snapshots = BackfillJobs(rest), SnapshotJob(rest, clock, pool.publish)
    wallet_sync = WalletSyncJob(SyncTable(engine), rest, streams.of(_WALLET), pool.publish)
    key_check = KeyCheckJob(rest, lambda: account.credentials is not None)
    instruments = InstrumentsJob(rest, InstrumentTable(engine), pool.retry_rejected)
    jobs: list[Job[Any]] = [snapshots, *backfill, wallet_sync, key_check, instruments]
    rest_jobs = WorkerGroup("rest jobs", map(JobWorker, jobs), grace_s=_JOBS_GRACE_S)

    safe_point = SafePoint(delivery.outbox.market.counts().accepted, time.time_ns())
    checkpoint = CheckpointWriter(file, partial(current_checkpoint, delivery, pool, gaps, safe_point))
    changed = threading.Event()
    around = Surroundings(
        outbox=delivery.outbox,
        clocks=clock,
        budget=ConnectBudget(),
        changed=changed.set,
        live=checkpoint.write,
        subscribed=snapshots.request,
        request_backfill=backfill.request,
        clock_doubted=snapshots.request_clock,
    )
    open_worker = partial(build_worker, settings, account, streams, gaps, around)
    sockets = WorkerGroup("sockets", grace_s=_SOCKETS_GRACE_S)
    allocation = Allocation(pool, open_worker, partial(start_socket, sockets))
    return ExchangeSide(
        account, clock, gaps, pool, allocation, key_check, changed, workers=[sockets, rest_jobs, checkpoint]
    )


def build_worker(
    settings: Settings,
    account: Account,
    streams: EventStreams,
    gaps: GapStore,
    around: Surroundings,
    endpoint: str,
    number: int,
) -> SocketWorker:
    """The worker of one connection."""
    return SocketWorker(
        number,
        partial(open_session, account, endpoint),
        partial(open_transport, url_of(settings.bybit, endpoint), headers=settings.bybit.headers),
        TransportPoller(),
        Feed(endpoint, streams.of, gaps),
        around,
        settings.socket_age_s,
    )


def start_socket(sockets: WorkerGroup, worker: ConnectionWorker) -> None:
    sockets.add(worker, worker.wake)


def open_session(account: Account, endpoint: str) -> Session:
    credentials = account.credentials if endpoint == "private" else None
    return Session(endpoint, Timing(), time.monotonic(), credentials)


def current_checkpoint(delivery: DeliverySide, pool: ConnectionPool, gaps: GapStore, safe: SafePoint) -> Checkpoint:
    counts = delivery.outbox.market.counts()
    safe_ns = safe.until_ns(counts, time.time_ns(), connected=delivery.market.link.connected)
    return checkpoint_of(pool.observed(), safe_ns, gaps.for_next_run())


@dataclass(frozen=True, slots=True)
class ControlSide:
    """From the desired state to the observed one."""

    reporter: Reporter
    workers: list[Worker]


def build_control(
    settings: Settings,
    epoch: str,
    engine: Engine,
    delivery: DeliverySide,
    exchange: ExchangeSide,
    cache: SubscriptionCache,
) -> ControlSide:
    outbox = delivery.outbox
    sources = ReportSources(
        sockets=exchange.pool.observed,
        link=delivery.link,
        depths=lambda: delivery.topology.depths,
        consumptions=lambda: delivery.management.by_queue,
        mismatched=lambda: delivery.topology.mismatched,
        lanes=lambda: {"private": outbox.private.counts(), "market": outbox.market.counts()},
        disk=delivery.disk.trouble,
        clock_offset_ms=lambda: exchange.clock.offset_ms,
    )
    reporter = Reporter(PostgresReports(engine, epoch), sources, exchange.gaps, exchange.changed)
    reconciler = Reconciler(
        store=PostgresSubscriptions(engine),
        queues=delivery.topology,
        pool=exchange.allocation,
        broker_connected=delivery.connected,
        held=partial(close_unsubscribed_gaps, exchange),
        applied=reporter.applied,
        cache=cache,
        retention=settings.retention,
        market_queue_type=settings.market_queue_type,
        own=partial(own_channels, exchange.account),
    )
    credentials = CredentialsWatch(process_environment, partial(renew, exchange))
    signal.signal(signal.SIGHUP, partial(request_credentials, credentials))
    notifications = NotificationListener(settings.rabbitmq, epoch, reconciler.notify)
    return ControlSide(reporter, [delivery.management, Pruning(engine), reconciler, credentials, notifications])


def close_unsubscribed_gaps(exchange: ExchangeSide) -> None:
    exchange.gaps.close_unsubscribed(exchange.pool.carried(), time.time_ns())


def own_channels(account: Account) -> tuple[Channel, ...]:
    """The channels that the gateway subscribes to for itself."""
    return (_WALLET,) if account.credentials else ()


def renew(exchange: ExchangeSide, credentials: Credentials | None) -> None:
    exchange.account.credentials = credentials
    exchange.pool.renew(credentials)
    exchange.key_check.request()


def request_credentials(credentials: CredentialsWatch, *_: object) -> None:
    """Handle SIGHUP."""
    credentials.request()


def state_file(folder: Path, name: str, former: str) -> StateFile:
    """`former` is the name of the file in earlier releases."""
    return StateFile(folder / name, former=folder / former)


def open_spools(folder: Path, market_bytes: int) -> tuple[Spool, Spool]:
    """The spools of private and of market events, each with what an earlier run left in it."""
    private = Spool(folder / "private.db", _PRIVATE_SPOOL_BYTES, durable=True)
    market = Spool(folder / "market.db", market_bytes, durable=False)
    return private, market


def make_outbox(spools: tuple[Spool, Spool], market_bytes: int) -> Outbox:
    """The two lanes; what a lane holds in memory fits into its spool."""
    private, market = spools
    return Outbox(
        Lane(private, durable=True, most_events=_PRIVATE_EVENTS, most_bytes=_LANE_BYTES),
        Lane(market, durable=False, most_events=_MARKET_EVENTS, most_bytes=min(_LANE_BYTES, market_bytes // 4)),
    )


def channels_of(desired: Iterable[DesiredSubscription]) -> list[Channel]:
    """The channels of these subscriptions, without rows that name none."""
    found: list[Channel] = []
    for subscription in desired:
        with suppress(BadChannel):
            found.append(of_topic(subscription.endpoint, subscription.topic))
    return found


if __name__ == "__main__":
    sys.exit(entrypoint.run("ingestor", lambda: main(process_environment())))
