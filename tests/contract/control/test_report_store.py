"""What the reporter writes is what the views of the api read, field by field."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from common import database as databases
from common import settings
from common.channels import of_topic
from common.settings import Environment
from common.tables.ingestors import DeliveryState
from common.views import connections, gaps, topics
from ingestor.bybit.states import State
from ingestor.control.report_store import PostgresReports
from ingestor.feed.gaps import Gap
from ingestor.observed import ObservedConnection, ObservedTopic
from tests.kit.servers import Database

NOW = datetime.now(UTC)
EARLIER, EARLIEST = NOW - timedelta(seconds=1), NOW - timedelta(seconds=2)
TICKER = of_topic("linear", "tickers.BTCUSDT")


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    made = databases.engine(settings.postgres(Environment(database.environ())), "report tests")
    yield made
    made.dispose()


def different(written: object, read: object, *others: str) -> set[tuple[str, object, object]]:
    """The fields of `written` that `read` lacks or has with another value; `others` have other names there."""
    names = {field.name for field in fields(written)} - set(others)  # type: ignore[arg-type]
    both = [(name, getattr(written, name), getattr(read, name, "missing")) for name in names]
    return {each for each in both if each[1] != each[2]}


def test_every_field_of_an_observed_topic_is_stored(engine: Engine):
    topic = ObservedTopic(TICKER, "live", "why", acked_at=EARLIEST, last_event_at=EARLIER, events=7)
    PostgresReports(engine, "01J").write_topics((), {("linear", TICKER.topic): topic})
    with engine.connect() as connection:
        [view] = topics.page(connection, None, limit=2, offset=0).items
    assert different(topic, view, "channel") == set()
    assert (view.endpoint, view.topic, view.channel_type) == ("linear", "tickers.BTCUSDT", "ticker")


def test_every_field_of_an_observed_connection_is_stored(engine: Engine):
    observed = ObservedConnection("linear", 3, State.BACKOFF, EARLIER, 2, "reset", 1.5, EARLIEST)
    delivery = DeliveryState(
        broker_connected=True,
        broker_since=EARLIER,
        broker_reason="connected",
        lanes={},
        disk_trouble=None,
        disk_since=None,
    )
    PostgresReports(engine, "01J").write_heartbeat(1, delivery, [observed], 2.5, forget_earlier=False)
    with engine.connect() as connection:
        [view] = connections.of_epoch(connection, "01J")
    assert different(observed, view, "number", "topics") == set()
    assert (view.epoch, view.socket_no, view.clock_offset_ms) == ("01J", 3, 2.5)


def test_every_field_of_a_gap_is_stored(engine: Engine):
    opened_ns = 1_700_000_000_000_000_000
    gap = Gap("linear", TICKER.topic, "reset", opened_ns, "last", "first", opened_ns + 1_000_000_000, "in part")
    PostgresReports(engine, "01J").write_gaps([gap])
    with engine.connect() as connection:
        [view] = gaps.page(connection, None, still_open=None, limit=2, offset=0).items
    assert different(gap, view, "opened_ns", "closed_ns") == set()
    assert (view.opened, view.closed) == (gap.opened, gap.closed)
