"""Ended subscriptions in a real Postgres, and the thread that deletes them."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from common import database as databases
from common import settings
from common.settings import Environment
from ingestor.control.pruning import Pruning
from tests.kit.servers import Database
from tests.kit.waiting import eventually

KEPT, PRUNED = ("cancelled 29 days ago", "active since 31 days"), "cancelled 31 days ago"


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    made = databases.engine(settings.postgres(Environment(database.environ())), "pruning tests")
    yield made
    made.dispose()


def fill(database: Database, note: str, active: bool, days: int, count: int) -> None:
    state = "true, NULL" if active else "false, 'cancelled'"
    database.execute(
        "INSERT INTO subscriptions (id, channel_type, category, endpoint, topic, routing_key, requesting_service,"
        f" is_active, ended, generation, updated_at) SELECT gen_random_uuid(), 'raw', 'linear', 'linear', 't' || g,"
        f" 'k', '{note}', {state}, nextval('subscription_generation'), now() - interval '{days} days'"
        f" FROM generate_series(1, {count}) g"
    )


def left(database: Database) -> set[str]:
    return {service for (service,) in database.execute("SELECT DISTINCT requesting_service FROM subscriptions")}


def test_what_ended_more_than_thirty_days_ago_is_deleted_and_nothing_else(database: Database, engine: Engine):
    fill(database, PRUNED, active=False, days=31, count=2_500)
    fill(database, KEPT[1], active=True, days=31, count=10)
    fill(database, KEPT[0], active=False, days=29, count=9)
    stop = threading.Event()
    thread = threading.Thread(target=Pruning(engine, every_s=0.2).run, args=(stop,))
    thread.start()
    try:
        assert eventually(lambda: left(database) == set(KEPT), 20, "the old ones are gone")
        fill(database, PRUNED, active=False, days=31, count=1)
        fill(database, KEPT[0], active=False, days=31, count=1)  # the newest change of all says how much there was
        assert eventually(lambda: left(database) == set(KEPT), 20, "it looks again")
    finally:
        stop.set()
        thread.join(10)
    assert database.execute("SELECT count(*) FROM subscriptions") == [(20,)]
