"""The ingestor is put together here."""

import errno
import fcntl
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO

import structlog
from prometheus_client import REGISTRY

from common import database, entrypoint, logs
from common.channels import FIXED, BadChannel, Channel, of_topic
from common.errors import ConfigError
from common.lifecycle import Crew, Worker
from common.metrics import MetricsServer
from common.settings import Credentials, process_environment
from common.tables.subscriptions import DesiredSubscription
from ingestor.bybit.session import Session, Timing
from ingestor.control.cache import SubscriptionCache
from ingestor.control.checkpoint import Checkpoint, CheckpointWriter, SafePoint, checkpoint_of, read_checkpoint
from ingestor.control.credentials import Account, CredentialsWatch
from ingestor.control.notifications import NotificationListener
from ingestor.control.pruning import Pruning
from ingestor.control.reconciler import Reconciler
from ingestor.control.reporter import Reporter, ReportSources
from ingestor.delivery.disk_probe import DiskProbe
from ingestor.delivery.management import Management
from ingestor.delivery.outbox import Lane, Outbox
from ingestor.delivery.overflow import Overflow
from ingestor.delivery.plan import common_plan
from ingestor.delivery.publisher import Link, Publisher, worst
from ingestor.delivery.queue_metrics import QueueMetrics
from ingestor.delivery.queue_monitor import Traffic
from ingestor.delivery.spool import Spool
from ingestor.delivery.topology import Topology
from ingestor.epoch import new_epoch
from ingestor.feed.event_stream import EventStreams, StreamSource
from ingestor.feed.gaps import Gaps
from ingestor.rest.client import RestClient
from ingestor.rest.clock import ExchangeClock
from ingestor.rest.jobs.backfill import BackfillJobs
from ingestor.rest.jobs.group import RestJobs
from ingestor.rest.jobs.instruments import InstrumentsJob
from ingestor.rest.jobs.key_check import KeyCheckJob
from ingestor.rest.jobs.snapshots import SnapshotJob
from ingestor.rest.jobs.wallet_sync import WalletSyncJob
from ingestor.settings import Settings
from ingestor.sockets.connect_budget import ConnectBudget
from ingestor.sockets.pool import ConnectionPool, url_of
from ingestor.sockets.worker import SocketWorker, Surroundings

log = structlog.get_logger(__name__)

GRACE_S = 15.0  # below supervisor's stopwaitsecs
_MARKET_EVENTS, _PRIVATE_EVENTS, _LANE_BYTES = 20_000, 2_000, 64 * 2**20
_PRIVATE_SPOOL_BYTES = 256 * 2**20
_DISK_TAKES_NOTHING = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)


def main(env: Mapping[str, str]) -> int:
    settings = Settings.from_env(env)
    logs.configure("ingestor", settings.log_level)
    lock = locked(settings.spool_dir)
    epoch = new_epoch(time.time_ns() // 1_000_000)
    crew = Crew()
    database.limit_waits()
    engine = database.engine(settings.postgres, f"{settings.service_name} ingestor", pool_size=3)

    dropped: SimpleQueue[Mapping[str, int]] = SimpleQueue()
    spools = open_spools(settings.spool_dir, settings.market_spool_bytes)
    outbox = make_outbox(spools, settings.market_spool_bytes, dropped.put)
    room = min(2**20, settings.market_spool_bytes // 64)
    disk = DiskProbe(settings.spool_dir, *spools, room, lambda: outbox.private.failure or outbox.market.failure)
    traffic = Traffic()
    common = common_plan(settings.class_queues, settings.retention, settings.market_queue_type)
    queues = Topology(settings.rabbitmq, common, traffic)
    management = Management(settings.rabbitmq)
    REGISTRY.register(QueueMetrics(lambda: queues.depths, lambda: management.by_queue))
    private = Publisher("private", outbox.private, settings.rabbitmq, queues, traffic, settings.publish_window)
    market = Publisher(
        "market",
        outbox.market,
        settings.rabbitmq,
        queues,
        traffic,
        settings.publish_window,
        settings.retention.hours * 3600,
    )

    wallet = of_topic(*FIXED["balance"])
    cache, sign_of_life = SubscriptionCache(settings.spool_dir / "wishes.json"), settings.spool_dir / "alive.json"
    held = [wallet, *channels_of(cache.last())]
    clock, gaps, changed = ExchangeClock(), Gaps(read_checkpoint(sign_of_life).missed(held)), threading.Event()
    lines = EventStreams(StreamSource(settings.bybit.environment, epoch))
    account = Account(settings.bybit.credentials)
    rest = RestClient(settings.bybit, account, clock.now_ms)
    histories = BackfillJobs(rest)
    snapshots = SnapshotJob(rest, clock, lambda channel, make: pool.tell(channel, make))
    safe = SafePoint(outbox.market.counts().accepted, time.time_ns())

    def alive_now() -> Checkpoint:
        safe_ns = safe.until_ns(outbox.market.counts(), market.link.connected, time.time_ns())
        return checkpoint_of(pool.seen(), safe_ns, gaps.windows())

    alive = CheckpointWriter(sign_of_life, alive_now)
    around = Surroundings(
        out=outbox,
        stream_of=lines.of,
        gaps=gaps,
        budget=ConnectBudget(),
        clock=clock,
        changed=changed.set,
        went_live=alive.write,
        subscribed=snapshots.ask,
        ask_past=histories.ask,
        clock_doubted=snapshots.ask_clock,
    )
    pool = ConnectionPool(partial(open_stream, settings, account, around), crew.start)
    listing = InstrumentsJob(rest, engine, pool.retry_rejected)

    def link() -> Link:
        return worst([private.link, market.link])

    sights = ReportSources(
        sockets=pool.seen,
        link=link,
        depths=lambda: queues.depths,
        consumptions=lambda: management.by_queue,
        mismatched=lambda: queues.mismatched,
        lanes=lambda: {"private": outbox.private.counts(), "market": outbox.market.counts()},
        disk=disk.trouble,
        clock_offset_ms=lambda: clock.offset_ms,
    )
    status = Reporter(engine, epoch, sights, gaps, changed)
    syncs = WalletSyncJob(engine, rest, lines.of(wallet), pool.tell)
    overflow = Overflow(dropped, pool, lambda: outbox.market.counts().spooled)
    reconciler = Reconciler(
        engine=engine,
        queues=queues,
        pool=pool,
        broker_connected=lambda: private.link.connected or market.link.connected,
        held=lambda: gaps.carried(pool.carried(), time.time_ns()),
        carried_out=status.carried_out,
        cache=cache,
        retention=settings.retention,
        market_queue_type=settings.market_queue_type,
        own=lambda: (wallet,) if account.credentials else (),
    )
    key_check = KeyCheckJob(rest, lambda: account.credentials is not None)
    watch = CredentialsWatch(process_environment, lambda found: renew(account, found, pool, key_check))
    signal.signal(signal.SIGHUP, lambda *_: watch.look())
    notifications = NotificationListener(settings.rabbitmq, epoch, reconciler.notify)
    metrics = MetricsServer(settings.bind, settings.metrics_port)

    gc.collect()
    gc.freeze()  # what lives for ever need not be walked by each full collection, which took 60 ms
    log.info("starting", epoch=epoch, environment=settings.bybit.environment)
    workers: list[Worker] = [metrics, status, queues, private, market, pool]
    askers = RestJobs([snapshots, *histories.workers, syncs, key_check, listing], crew.start)
    workers += [askers, overflow, alive, management, Pruning(engine), reconciler, watch, notifications]
    try:
        return crew.run_until_stopped(workers, GRACE_S)
    finally:
        if lock is not None:
            lock.close()


def open_stream(settings: Settings, account: Account, around: Surroundings, endpoint: str, number: int) -> SocketWorker:
    return SocketWorker(
        number,
        url_of(settings.bybit, endpoint),
        partial(open_session, account, endpoint),
        around,
        settings.socket_age_s,
    )


def open_session(account: Account, endpoint: str) -> Session:
    credentials = account.credentials if endpoint == "private" else None
    return Session(endpoint, Timing(), time.monotonic(), credentials)


def renew(account: Account, credentials: Credentials | None, pool: ConnectionPool, key_check: KeyCheckJob) -> None:
    account.credentials = credentials
    pool.renew(credentials)
    key_check.look()


def open_spools(folder: Path, market_bytes: int) -> tuple[Spool, Spool]:
    """That of private and that of market events, each with what an earlier life left in it."""
    private = Spool(folder / "private.db", _PRIVATE_SPOOL_BYTES, durable=True)
    market = Spool(folder / "market.db", market_bytes, durable=False)
    return private, market


def make_outbox(spools: tuple[Spool, Spool], market_bytes: int, dropped: Callable[[dict[str, int]], None]) -> Outbox:
    """The two lanes; what memory holds has room in the spool."""
    private, market = spools
    return Outbox(
        Lane(private, durable=True, most_events=_PRIVATE_EVENTS, most_bytes=_LANE_BYTES),
        Lane(market, False, _MARKET_EVENTS, min(_LANE_BYTES, market_bytes // 4), dropped),
    )


def channels_of(desired: Iterable[DesiredSubscription]) -> list[Channel]:
    """Those of the subscriptions that name one."""
    found: list[Channel] = []
    for subscription in desired:
        with suppress(BadChannel):
            found.append(of_topic(subscription.endpoint, subscription.topic))
    return found


def locked(folder: Path) -> IO[str] | None:
    """The spool folder is ours alone, for as long as the file is open; None where the disk cannot even hold a lock."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = opened_lock(folder / "lock")
    except OSError as error:
        if error.errno in _DISK_TAKES_NOTHING:
            log.error("the spool's folder cannot be locked", folder=str(folder), error=str(error))
            return None
        raise ConfigError(f"WS_GATEWAY_SPOOL_DIR={str(folder)!r}: allowed is a writable folder ({error})") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigError(f"WS_GATEWAY_SPOOL_DIR={str(folder)!r}: another ingestor uses this folder") from error
    return file


def opened_lock(path: Path) -> IO[str]:
    """A disk that has become read-only still lets an earlier life's file be locked."""
    try:
        return path.open("a")
    except OSError as error:
        if error.errno in _DISK_TAKES_NOTHING and path.exists():
            return path.open()
        raise


if __name__ == "__main__":
    sys.exit(entrypoint.run("ingestor", lambda: main(process_environment())))
