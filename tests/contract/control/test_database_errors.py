"""Workers that use the database regularly survive whatever it answers, and recover."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy import Engine, event, text

from common import database as databases
from common import settings
from common.channels import Channel, of_topic
from common.errors import Unavailable
from common.events import Event
from common.lifecycle import Worker, start
from common.settings import Environment
from common.tables.instruments import Instrument
from ingestor.control.cache import SubscriptionCache
from ingestor.control.gap_store import GapStore
from ingestor.control.reconciler import Reconciler
from ingestor.control.report_store import PostgresReports
from ingestor.control.reporter import Reporter, ReportSources
from ingestor.control.state_file import StateFile
from ingestor.control.subscription_store import PostgresSubscriptions
from ingestor.delivery.broker_link import Link
from ingestor.delivery.plan import Plan
from ingestor.feed.event_stream import EventStream, StreamSource
from ingestor.rest.client import RestSnapshot
from ingestor.rest.jobs.instruments import InstrumentsJob, InstrumentTable
from ingestor.rest.jobs.scheduler import JobWorker
from ingestor.rest.jobs.wallet_sync import SyncTable, WalletSyncJob
from persister.ledger import Ledger
from persister.maintenance import PartitionMaintenance
from tests.kit.servers import Database
from tests.kit.waiting import eventually
from tests.kit.workers import at_work

STATES = ("08006", "22P02", "23505", "25006", "40001", "42501", "42P01", "42703", "53100", "54001", "XX001", "P0001")
ANY_STATE = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=5, max_size=5).filter(
    lambda state: state[:2] != "00"
)
WALLET = of_topic("private", "wallet")


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    made = databases.engine(settings.postgres(Environment(database.environ())), "error tests", pool_size=4)
    yield made
    made.dispose()


def raising(state: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'not foreseen' USING ERRCODE = '{state}'; END $$"


@contextmanager
def failing(engine: Engine, state: str) -> Iterator[list[str]]:
    """Every statement fails with this SQLSTATE, as the server itself reports it; yields the statements."""
    failed: list[str] = []

    def replaced(_connection: Any, _cursor: Any, statement: str, *_: Any) -> tuple[str, Any]:
        failed.append(statement)
        return raising(state), None

    event.listen(engine, "before_cursor_execute", replaced, retval=True)
    try:
        yield failed
    finally:
        event.remove(engine, "before_cursor_execute", replaced)


class Surroundings:
    """A broker, an exchange and connections without events; `heard` counts the calls that reach them."""

    def __init__(self) -> None:
        self.heard = 0

    def make(self, plan: Plan, within_s: float) -> bool:
        return True

    def want(self, channels: object) -> None:
        pass

    def instruments(self, category: str) -> list[Instrument]:
        return [Instrument(category, "BTCUSDT", "BTC", "USDT", "Trading")]

    def wallet(self) -> RestSnapshot:
        return RestSnapshot(b"{}", 1)

    def tell(self, channel: Channel, make: Callable[[EventStream], Event]) -> bool:
        return True

    def hear(self, *_: object) -> None:
        self.heard += 1


def reconciler(engine: Engine, around: Surroundings, folder: Path) -> Worker:
    return Reconciler(
        store=PostgresSubscriptions(engine),
        queues=around,
        pool=around,
        broker_connected=lambda: True,
        held=lambda: None,
        applied=around.hear,
        cache=SubscriptionCache(StateFile(folder / "subscriptions.json")),
        retention=settings.Retention(24, 100_000),
        market_queue_type="classic",
        own=lambda: (),
    )


def listing(engine: Engine, around: Surroundings, _folder: Path) -> Worker:
    return JobWorker(InstrumentsJob(around, InstrumentTable(engine), around.hear))


def syncs(engine: Engine, around: Surroundings, _folder: Path) -> Worker:
    stream = EventStream(WALLET, StreamSource("simulator", "01J"))
    return JobWorker(WalletSyncJob(SyncTable(engine), around, stream, around.tell))


def reporter(engine: Engine, around: Surroundings, _folder: Path) -> Worker:
    sources = ReportSources(
        sockets=list,
        link=lambda: Link(connected=True, since=datetime.now(UTC), reason="connected"),
        depths=dict,
        consumptions=dict,
        mismatched=tuple,
        lanes=dict,
        disk=lambda: None,
        clock_offset_ms=lambda: None,
    )
    return Reporter(PostgresReports(engine, "01J"), sources, GapStore(), threading.Event())


def failures(worker: Worker) -> float:
    return REGISTRY.get_sample_value("wsgw_worker_failures_total", {"worker": worker.name}) or 0.0


@pytest.mark.parametrize("make", [reconciler, listing, syncs, reporter])
def test_a_worker_waits_after_any_error(
    make: Callable[[Engine, Surroundings, Path], Worker], engine: Engine, tmp_path: Path
):
    worker = make(engine, Surroundings(), tmp_path)
    before = failures(worker)
    for state in STATES:
        with failing(engine, state) as failed, at_work(worker):
            eventually(lambda failed=failed: len(failed) >= 2, 20, f"it tries again after {state}")  # type: ignore[misc]
    assert failures(worker) == before


def test_the_work_is_done_once_the_database_recovers(engine: Engine, database: Database, tmp_path: Path):
    around = Surroundings()
    workers = [each(engine, around, tmp_path) for each in (reconciler, listing, reporter)]
    with failing(engine, "42501") as failed:
        running = [start(worker) for worker in workers]
        eventually(lambda: len(failed) > 5, 20, "they have failed")
    eventually(lambda: around.heard >= 5, 30, "subscriptions are applied, and four lists of instruments are new")
    eventually(
        lambda: database.execute("SELECT 1 FROM ingestors WHERE heartbeat_at > started_at"), 20, "the report is written"
    )
    for each in running:
        each.stop()
        assert each.ended(within_s=10)


@given(state=ANY_STATE)
@budget(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sqlstate_is_unavailable(engine: Engine, state: str):
    with pytest.raises(Unavailable), databases.retriable(), engine.begin() as connection:
        connection.execute(text(raising(state)))


@pytest.mark.parametrize("state", STATES)
def test_the_maintenance_of_balances_continues_after_any_error(engine: Engine, state: str):
    worker = PartitionMaintenance(engine, 0, partial(datetime.now, UTC))
    before = failures(worker)
    with failing(engine, state) as failed, at_work(worker):
        eventually(lambda: failed, 10, "it tried")
    assert failures(worker) == before


@pytest.mark.parametrize("state", STATES)
def test_a_ledger_that_cannot_be_read_is_unavailable(engine: Engine, state: str):
    with failing(engine, state), pytest.raises(Unavailable):
        Ledger(engine).open()
