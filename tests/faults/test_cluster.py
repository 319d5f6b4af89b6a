"""A cluster of three brokers loses any one of them without losing an event of a quorum queue."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.reading import Read, Reader
from tests.e2e.stack import Stack
from tests.kit import servers
from tests.kit.cluster import Cluster
from tests.kit.servers import Broker, Database, Postgres
from tests.kit.waiting import eventually

CLASSIC = "ws-gateway.ticker.risk"  # on the second node alone: when that is down, this queue and no other suffers
QUEUES = ("ws-gateway.execution.risk", "ws-gateway.orderbook.risk")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    mine = Cluster(tmp_path)
    try:
        mine.start()
        yield mine
    finally:
        mine.stop()


@pytest.fixture
def stack(cluster: Cluster, postgres: Postgres, migrated: Database, tmp_path: Path) -> Iterator[Stack]:
    with servers.fresh_database(postgres, migrated) as database:
        mine = Stack(tmp_path, database, cluster.broker(cluster.nodes[0]))
        mine.more = cluster.environ() | {"WS_GATEWAY_MARKET_QUEUE_TYPE": "quorum"}
        try:
            declare_classic(cluster.broker(cluster.nodes[1]), CLASSIC)
            mine.simulate("--fill-every", "0.2")
            mine.start("ingestor", "persister", "api")
            mine.subscribe("risk", channel_type="execution")
            mine.subscribe("risk", channel_type="orderbook", symbol="BTCUSDT")
            mine.subscribe("risk", channel_type="ticker", symbol="BTCUSDT")
            mine.live("risk", within_s=60)
            yield mine
        finally:
            mine.stop()


def declare_classic(broker: Broker, name: str) -> None:
    """A queue on this node alone, as a gateway with other settings would have created it."""
    connection = broker.connect()
    connection.channel().queue_declare(name, durable=True)
    connection.close()


def confirmed(stack: Stack) -> tuple[float, float]:
    figures = stack.metrics()
    private, market = (
        figures[f'wsgw_outbox_events{{lane="{lane}",what="confirmed"}}'] for lane in ("private", "market")
    )
    return private, market


def flows_on(stack: Stack, before: tuple[float, float]) -> bool:
    return all(now > then + 10 for now, then in zip(confirmed(stack), before, strict=True))


def settled(stack: Stack) -> bool:
    figures = stack.metrics()
    waiting = [figures[f'wsgw_outbox_events{{lane="{lane}",what="{what}"}}']
               for lane in ("private", "market") for what in ("spooled", "in_flight")]  # fmt: skip
    return sum(waiting) == 0


def test_the_loss_of_each_node_in_turn_loses_nothing(stack: Stack, cluster: Cluster):
    for node in cluster.nodes:
        node.kill()
        before = confirmed(stack)
        eventually(lambda before=before: flows_on(stack, before), 60, f"events flow without {node.name}")  # type: ignore[misc]
        cluster.start_node(node)
        eventually(lambda node=node: cluster.joined(node), 60, f"{node.name} is back")  # type: ignore[misc]
    eventually(lambda: waiting(cluster.broker(cluster.nodes[1]), (CLASSIC,)) > 0, 30, "the classic queue fills again")
    stack.processes["simulator"].stop()
    eventually(lambda: settled(stack), 30, "everything is confirmed")
    broker = cluster.broker(cluster.nodes[0])
    messages: list[Read] = []

    def all_read() -> bool:
        with Reader(broker, QUEUES) as reader:
            eventually(lambda: not waiting(broker), 30, "nothing waits")
        messages.extend(reader.messages)  # what was under way to the reader waits again
        return bool(messages) and not waiting(broker)

    eventually(all_read, 60, "everything is read")
    for subject in ("execution", "orderbook.50.BTCUSDT"):
        assert_counted_without_a_hole(subject, messages)


def waiting(broker: Broker, queues: tuple[str, ...] = QUEUES) -> int:
    connection = broker.connect()
    try:
        declare = connection.channel().queue_declare
        return sum(declare(name, passive=True).method.message_count for name in queues)
    finally:
        connection.close()


def assert_counted_without_a_hole(subject: str, messages: list[Read]) -> None:
    numbers = [int(event["sequence"]) for each in messages if (event := json.loads(each.body))["subject"] == subject]
    first = list(dict.fromkeys(numbers))  # what comes twice counts once
    assert first == list(range(first[0], first[0] + len(first)))
    assert len(first) > 20
