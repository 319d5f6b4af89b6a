"""A request for a comparison with the exchange is answered with a snapshot."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from common import database as databases
from common.channels import of_topic
from common.settings import Environment, postgres
from common.tables import balance_syncs
from common.tables.balance_syncs import BalanceSync
from ingestor.rest.jobs.scheduler import JobWorker
from ingestor.rest.jobs.wallet_sync import SyncTable, WalletSyncJob
from tests.contract.exchange.conftest import World
from tests.kit.servers import Database
from tests.kit.waiting import eventually
from tests.kit.workers import at_work

WALLET = of_topic("private", "wallet")
PATH = "/v5/account/wallet-balance"


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    made = databases.engine(postgres(Environment(database.environ())), "syncs tests", pool_size=2)
    yield made
    made.dispose()


@pytest.fixture
def syncs(engine: Engine, world: World) -> Iterator[None]:
    worker = JobWorker(WalletSyncJob(SyncTable(engine), world.rest, world.streams.of(WALLET), world.pool.publish))
    with at_work(worker):
        yield


def requested(engine: Engine) -> Callable[[], BalanceSync]:
    with engine.begin() as connection:
        sync = balance_syncs.request(connection, None)

    def row() -> BalanceSync:
        with engine.connect() as connection:
            found = balance_syncs.one(connection, sync)
            assert found is not None
            return found

    return row


def test_a_request_is_answered_with_a_snapshot_that_the_table_names(engine: Engine, world: World, syncs: None):
    world.want("private", "wallet")
    row = requested(engine)
    [event_id] = eventually(lambda: row().snapshots, 5, "a snapshot is fetched")
    snapshots = eventually(lambda: [e for e in world.events.of("wallet") if e["id"] == event_id], 5, "it is published")
    assert snapshots[0]["type"] == "bybit.balance.snapshot"
    assert row().done_at is None, "only the persister completes it"


def test_a_refusal_of_the_exchange_is_the_reason_of_the_failure(engine: Engine, world: World, syncs: None):
    world.want("private", "wallet")
    world.fault("rest", path=PATH, form="error", code=10003, message="API key is invalid.", count=50)
    row = requested(engine)
    eventually(lambda: row().outcome == "failed", 5, "it failed")
    assert "API key is invalid." in (row().reason or "")
