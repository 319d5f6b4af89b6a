"""The ingestor starts on a disk that refuses writes, reports it, and recovers with the disk."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack
from tests.kit import disks, servers
from tests.kit.servers import Database, Postgres, RabbitMQ
from tests.kit.waiting import eventually

_DISK_BYTES = 8 * 2**20
_TICKER = {"channel_type": "ticker", "category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture
def stack(postgres: Postgres, migrated: Database, rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Stack]:
    (tmp_path / "spool").mkdir()
    with (
        servers.fresh_database(postgres, migrated) as database,
        servers.fresh_vhost(rabbitmq) as broker,
        disks.small_disk(tmp_path / "spool", _DISK_BYTES),
    ):
        mine = Stack(tmp_path, database, broker)
        try:
            mine.start("simulator", "persister", "api")
            yield mine
        finally:
            mine.stop()


def trouble(stack: Stack) -> str:
    status, health = stack.call("GET", "/health")
    part = health["components"]["ingestor"]
    return str(part["reason"]) if status == 503 and part["state"] == "down" and part["reason"] else ""


def waiting(stack: Stack, queue: str) -> int:
    channel = stack.broker.connect().channel()
    return int(channel.queue_declare(queue, passive=True).method.message_count)


@pytest.mark.parametrize(
    ("kind", "words"), [("full", "No space left on device"), ("read-only", "Read-only file system")]
)
def test_market_events_flow_private_ones_wait_and_all_is_well_once_there_is_room(stack: Stack, kind: str, words: str):
    spool = stack.folder / "spool"
    filler = disks.fill(spool)
    if kind == "read-only":
        filler.unlink()
        disks.remount(spool, "ro")
    stack.start("ingestor")
    eventually(lambda: words in trouble(stack), 40, "it is red, and names the disk")
    stack.subscribe("model", **_TICKER)
    eventually(lambda: waiting(stack, "ws-gateway.ticker.model") > 3, 40, "market events flow")
    assert stack.processes["ingestor"].running
    if kind == "read-only":
        disks.remount(spool, "rw")
    filler.unlink(missing_ok=True)
    stack.healthy(60)
    eventually(lambda: balances(stack), 40, "private events flow")
    failed = [line for line in stack.processes["ingestor"].lines() if line["event"] in ("worker failed", "worker died")]
    assert failed == []


def balances(stack: Stack) -> Any:
    status, found = stack.call("GET", "/api/v1/balances")
    assert status == 200, json.dumps(found)
    return found["items"]
