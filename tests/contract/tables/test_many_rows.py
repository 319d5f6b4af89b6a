"""Twenty thousand topics and subscriptions, and many that ended: what each statement reads, and that it succeeds."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from common import database as databases
from common import settings
from common.channels import Channel, of_topic
from common.tables import ingestors, queues, subscriptions, topics
from common.tables.ingestors import DeliveryState
from common.tables.queues import QueueRow
from common.tables.subscriptions import Caps, Counted, OverCap
from common.tables.topics import TopicRow
from common.views import ingestors as ingestor_views
from common.views import queues as queue_views
from common.views import subscription_status
from common.views import topics as topic_views
from tests.kit import servers
from tests.kit.servers import Database, Postgres
from tests.kit.statements import Sent, noted

ACTIVE, ENDED, SERVICES = 20_000, 200_000, 20
EPOCH = "01J"
FEW = 200  # rows that a statement may touch that is to find its few by index
Node = dict[str, Any]


@pytest.fixture(scope="module")
def large(postgres: Postgres, migrated: Database) -> Iterator[Engine]:
    """200,000 that ended over the last ten days, then 20,000 active ones, made once; jit is on as in the containers."""
    with servers.fresh_database(postgres, migrated) as mine:
        mine.execute(f"ALTER DATABASE {mine.name} SET jit = on")
        for first in range(1, ENDED, ENDED // 4):
            mine.execute(_filled("false, 'cancelled'", "now() - interval '10 days'", first, ENDED // 4))
        mine.execute(_filled("true, NULL", "now() - interval '1 hour'", 1, ACTIVE))
        mine.execute("VACUUM ANALYZE subscriptions")
        engine = databases.engine(settings.postgres(settings.Environment(mine.environ())), "many rows")
        yield engine
        engine.dispose()


def _filled(state: str, since: str, first: int, count: int) -> str:
    return (
        "INSERT INTO subscriptions (id, channel_type, category, symbol, endpoint, topic, routing_key,"
        " requesting_service, is_active, ended, generation, created_at, updated_at)"
        " SELECT gen_random_uuid(), 'trades', 'linear', 'S' || g, 'linear', 'publicTrade.S' || g, 'key' || g,"
        f" 'service-' || g % {SERVICES}, {state}, nextval('subscription_generation'),"
        f" {since} + g * interval '1 ms', {since} + g * interval '1 ms'"
        f" FROM generate_series({first}, {first + count - 1}) g"
    )


@pytest.fixture
def connection(large: Engine) -> Iterator[Connection]:
    """What a test changes is taken back."""
    with large.connect() as found:
        yield found
        found.rollback()


@pytest.fixture
def asked(connection: Connection) -> Iterator[Sent]:
    """The statements that were sent."""
    with noted(connection) as statements:
        yield statements


def touched(connection: Connection, asked: Sent) -> int:
    """How many rows of the table of subscriptions the last statement reads, those passed over included."""
    statement, parameters = asked[-1]
    statement = statement.rsplit("pg_advisory_xact_lock", 1)[-1].partition(";")[2] or statement
    [(plan,)] = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).all()
    nodes: list[Node] = [(plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]]
    for node in nodes:  # grows while it is read
        nodes += node.get("Plans", [])
    scans = [node for node in nodes if node.get("Relation Name") == "subscriptions" and "Scan" in node["Node Type"]]
    assert scans, statement
    return int(
        sum(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) for node in scans)
    )


def channel(number: int) -> Channel:
    return of_topic("linear", f"publicTrade.NEW{number}")


def add(connection: Connection, count: int, service: str = "service-1", in_total: int = 10**6) -> list[uuid.UUID]:
    caps = Caps(10**6, in_total)
    channels = [channel(number) for number in range(count)]
    return [each.id for each in subscriptions.add(connection, channels, service, None, None, caps, Counted(ACTIVE, 0))]


def seen(number: int, events: int = 0) -> TopicRow:
    return TopicRow("linear", f"orderbook.50.S{number}", "orderbook", "live", None, EPOCH, None, None, events)


def test_what_changed_is_read_without_the_rest(connection: Connection, asked: Sent):
    before = subscriptions.last_generation(connection)
    assert touched(connection, asked) <= 1
    [first] = add(connection, 1)
    add(connection, 1, "service-2")
    subscriptions.cancel(connection, [first], None)
    changes = subscriptions.changed(connection, before, 5_000)
    assert [(each.subscription.service, each.ended_at is None) for each in changes] == [
        ("service-2", True),
        ("service-1", False),
    ]
    assert touched(connection, asked) == 2


def test_many_changes_are_read_in_pieces(connection: Connection, asked: Sent):
    first = subscriptions.changed(connection, 0, 100)
    assert len(first) == 100
    assert touched(connection, asked) == 100
    [following] = subscriptions.changed(connection, first[-1].subscription.generation, 1)
    assert following.subscription.generation > first[-1].subscription.generation


def test_what_ended_lately_is_read_without_the_rest(connection: Connection, asked: Sent):
    before = subscriptions.last_generation(connection)
    subscriptions.cancel(connection, add(connection, 3), None)
    assert len(subscriptions.ended(connection, before)) == 3
    assert touched(connection, asked) <= 6  # versions of rows that this transaction replaced may be met


def test_all_active_ones_are_read_without_those_that_ended(connection: Connection, asked: Sent):
    assert len(subscriptions.active(connection)) == ACTIVE
    assert touched(connection, asked) == ACTIVE


def test_unused_queues_are_found_service_by_service(connection: Connection, asked: Sent):
    found = subscriptions.unused(connection)
    assert sorted(service for service, _, _ in found) == sorted(f"service-{n}" for n in range(SERVICES))
    assert touched(connection, asked) <= 3 * SERVICES


def test_leases_are_looked_at_without_the_rest(connection: Connection, asked: Sent):
    [leased] = add(connection, 1)
    subscriptions.renew(connection, [leased], 60, None)
    assert subscriptions.next_lease_ends_in_s(connection) is not None
    assert touched(connection, asked) <= 2
    assert subscriptions.expire(connection) == []
    assert touched(connection, asked) <= 2


def test_many_leases_end_in_pieces(connection: Connection):
    connection.execute(text("UPDATE subscriptions SET expires_at = now() WHERE is_active AND symbol LIKE 'S1%'"))
    pieces = []
    while piece := subscriptions.expire(connection):
        pieces.append(len(piece))
    assert sum(pieces) == 11_111
    assert max(pieces) == 1_000


def test_what_ended_long_ago_is_pruned_in_pieces(connection: Connection, asked: Sent):
    old = "NOT is_active AND requesting_service = 'service-7' AND symbol LIKE 'S%7'"
    connection.execute(text(f"UPDATE subscriptions SET updated_at = now() - interval '31 days' WHERE {old}"))
    [(many,)] = connection.execute(text(f"SELECT count(*) FROM subscriptions WHERE {old}")).all()
    assert many == ENDED // SERVICES
    pieces = 1
    while subscriptions.prune(connection):
        pieces += 1
    assert pieces == many // 1_000 + 1
    [(left,)] = connection.execute(text("SELECT count(*) FROM subscriptions")).all()
    assert left == ENDED + ACTIVE - many


def test_pruning_nothing_reads_nothing(connection: Connection, asked: Sent):
    assert not subscriptions.prune(connection)
    assert touched(connection, asked) == 0


def test_the_planner_counts_again_after_a_thousand_changes_however_many_ended(connection: Connection):
    [(options,)] = connection.execute(text("SELECT reloptions FROM pg_class WHERE relname = 'subscriptions'")).all()
    assert set(options) == {"autovacuum_analyze_scale_factor=0", "autovacuum_analyze_threshold=1000"}


def test_health_asks_for_each_endpoint_once(connection: Connection, asked: Sent):
    assert list(ingestor_views.endpoints_needed(connection, 5.0)) == ["linear"]
    assert touched(connection, asked) <= FEW


@pytest.mark.parametrize("status", ["pending", "live", "rejected"])
def test_a_page_by_status_passes_over_what_ended(connection: Connection, asked: Sent, status: str):
    page = subscription_status.page(connection, {}, status, 50, 0)
    assert (len(page.items), page.total) == ((50, ACTIVE) if status == "pending" else (0, 0))
    assert touched(connection, asked) <= 2 * ACTIVE + FEW


def test_a_page_of_active_ones_reads_a_page(connection: Connection, asked: Sent):
    page = subscription_status.page(connection, {"is_active": True}, None, 50, 0)
    assert (len(page.items), page.total) == (50, ACTIVE)
    assert touched(connection, asked) <= ACTIVE + FEW


def test_a_list_of_two_thousand_that_is_held_already_adds_nothing(connection: Connection):
    add(connection, 2_000)
    assert add(connection, 2_000) == []
    with pytest.raises(OverCap):
        add(connection, 2_001, in_total=ACTIVE + 2_000)


def test_the_status_of_all_topics_is_written_and_read(connection: Connection):
    topics.record(connection, [seen(number) for number in range(ACTIVE)])
    topics.record(connection, [seen(number, events=7) for number in range(ACTIVE)])
    page = topic_views.page(connection, None, 50, 0)
    assert (page.total, {view.events for view in page.items}) == (ACTIVE, {7})


def test_topics_that_left_are_removed_however_many(connection: Connection):
    topics.record(connection, [seen(number) for number in range(ACTIVE)])
    topics.forget(connection, [("linear", seen(number).topic) for number in range(1, ACTIVE)])
    [only] = topic_views.page(connection, None, 50, 0).items
    assert only.topic == seen(0).topic
    topics.forget_earlier(connection, "01K")
    assert topic_views.page(connection, None, 50, 0).total == 0


def test_queues_are_replaced_as_a_whole_however_many(connection: Connection):
    now = datetime.now(UTC)

    def looked_at(first: int) -> list[QueueRow]:
        return [
            QueueRow(f"ws-gateway.trades.s{n}", "trades", f"s{n}", n, 0, *(None,) * 9, False, now)
            for n in range(first, first + 10_000)
        ]

    queues.record(connection, looked_at(0))
    queues.record(connection, looked_at(5_000))
    page = queue_views.page(connection, "s14999", 50, 0)
    assert (page.total, page.items[0].ready) == (1, 14_999)
    assert queue_views.page(connection, None, 50, 0).total == 10_000


def test_an_old_life_is_remembered_until_a_newer_one_has_done_as_much(connection: Connection):
    delivery = DeliveryState(True, datetime.now(UTC), "", {}, None, None)

    def beat(epoch: str, generation: int) -> None:
        ingestors.beat(connection, epoch=epoch, host="here", role="leader", generation=generation, delivery=delivery)

    beat("old", 41)
    connection.execute(text("UPDATE ingestors SET heartbeat_at = now() - interval '2 days'"))
    beat("new", 0)
    assert ingestors.carried_out(connection) == 41
    beat("new", 42)
    assert ingestors.carried_out(connection) == 42
    assert [row.epoch for row in connection.execute(text("SELECT epoch FROM ingestors"))] == ["new"]
