"""The broker fails in all ways: nothing read from the exchange is lost, and the sequence is kept."""

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.reading import Read, Reader, drained
from tests.e2e.stack import Stack
from tests.e2e.test_recorded_session import by_topic, recorded, subscribed
from tests.kit import servers
from tests.kit.servers import Database, Postgres, RabbitMQ
from tests.kit.waiting import eventually

FRAMES = 2529
_IN_THE_MIDDLE = 500


@pytest.fixture(scope="module")
def broken_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker for the faults of this file; each test repairs it."""
    server = RabbitMQ(tmp_path_factory.mktemp("broken_rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def stack(postgres: Postgres, migrated: Database, broken_rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Stack]:
    """The recording is about to be played to the ingestor, four times as fast as it happened."""
    with servers.fresh_database(postgres, migrated) as database, servers.fresh_vhost(broken_rabbitmq) as broker:
        mine = Stack(tmp_path, database, broker)
        try:
            mine.simulate("--exact", "--speed", "4")
            mine.start("api")
            for topic in subscribed():
                mine.subscribe("e2e", topic=topic)
            mine.start("ingestor")
            eventually(lambda: accepted(mine) > _IN_THE_MIDDLE, 40, "the recording is in the middle")
            yield mine
        finally:
            mine.stop()


def accepted(stack: Stack) -> float:
    return stack.metrics()['wsgw_outbox_events{lane="market",what="accepted"}']


def counts(stack: Stack) -> dict[str, float]:
    figures = stack.metrics()
    names = ("accepted", "confirmed", "dropped", "spooled", "in_flight")
    return {name: figures[f'wsgw_outbox_events{{lane="market",what="{name}"}}'] for name in names}


def all_confirmed(stack: Stack) -> bool:
    now = counts(stack)
    return now["accepted"] >= FRAMES and now["spooled"] == now["in_flight"] == 0


def queues(stack: Stack) -> list[str]:
    rows = stack.call("GET", "/api/v1/subscriptions?requesting_service=e2e&limit=100")[1]["items"]
    return sorted({row["queue"] for row in rows})


def assert_all_there(messages: list[Read]) -> None:
    """Every recorded frame arrived in sequence; duplicates have the same id."""
    seen: set[str] = set()
    first: list[Read] = []
    for message in messages:
        if message.properties.message_id not in seen and message.properties.type != "gap":
            first.append(message)
        seen.add(str(message.properties.message_id))
    assert by_topic(first) == recorded()
    for subject, numbers in numbered(first).items():
        assert numbers == sorted(numbers), subject


def numbered(messages: list[Read]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for message in messages:
        event = json.loads(message.body)
        found.setdefault(event["subject"], []).append(int(event["sequence"]))
    return found


def kill_and_start(server: RabbitMQ, while_away: Callable[[], None]) -> None:
    server.kill()
    while_away()
    server.start()


def stop_and_start(server: RabbitMQ, while_away: Callable[[], None]) -> None:
    server.stop()
    while_away()
    server.start()


def pause_and_resume(server: RabbitMQ, while_away: Callable[[], None]) -> None:
    server.pause()
    while_away()
    server.resume()


@pytest.mark.parametrize("breaks", [kill_and_start, stop_and_start, pause_and_resume])
def test_a_broker_that_was_unavailable_gets_everything_afterwards(
    stack: Stack, broken_rabbitmq: RabbitMQ, breaks: Callable[[RabbitMQ, Callable[[], None]], None]
):
    def nothing_is_confirmed_any_more() -> None:
        eventually(lambda: accepted(stack) >= FRAMES, 40, "the whole recording was read meanwhile")
        assert counts(stack)["spooled"] + counts(stack)["in_flight"] > 0

    breaks(broken_rabbitmq, nothing_is_confirmed_any_more)
    eventually(lambda: all_confirmed(stack), 60, "everything is confirmed")
    now = counts(stack)
    assert now["accepted"] == now["confirmed"]
    assert_all_there(drained(stack.broker, queues(stack)))


def test_what_was_spooled_survives_a_kill_of_the_ingestor(stack: Stack, broken_rabbitmq: RabbitMQ):
    broken_rabbitmq.kill()
    eventually(lambda: accepted(stack) >= FRAMES, 40, "the whole recording was read meanwhile")
    spool = stack.folder / "spool" / "market.db-wal"
    eventually(lambda: "broker unavailable" in stack.processes["ingestor"].log(), 10, "the broker is missed")
    eventually(lambda: spilled(stack), 20, "everything is on disk")
    assert spool.exists()
    stack.processes["simulator"].kill()  # so that the next life hears nothing of it again
    stack.processes["ingestor"].signal(signal.SIGKILL)
    broken_rabbitmq.start()
    stack.start("ingestor")
    eventually(lambda: all_confirmed_in_second_life(stack), 60, "everything is confirmed")
    assert_all_there(drained(stack.broker, queues(stack)))


@pytest.fixture
def flowing(
    postgres: Postgres, migrated: Database, broken_rabbitmq: RabbitMQ, tmp_path: Path
) -> Iterator[tuple[Stack, Reader]]:
    """Busy order books, a spool of one MiB, and a service that consumes them."""
    with servers.fresh_database(postgres, migrated) as database, servers.fresh_vhost(broken_rabbitmq) as broker:
        mine = Stack(tmp_path, database, broker, {"WS_GATEWAY_SPOOL_MIB": "1"})
        try:
            mine.simulate("--speed", "4")
            mine.start("api", "ingestor")
            subscriptions = [(symbol, depth) for symbol in ("BTCUSDT", "ETHUSDT") for depth in (50, 200, 1000)]
            for symbol, depth in subscriptions:
                mine.subscribe("e2e", channel_type="orderbook", symbol=symbol, depth=depth)
            mine.subscribe("e2e", channel_type="trades", symbol="BTCUSDT")
            mine.live("e2e")
            yield mine, Reader(broker, tuple(queues(mine)))
        finally:
            mine.stop()


def test_what_a_full_spool_drops_is_counted_and_reported_as_a_gap(
    flowing: tuple[Stack, Reader], broken_rabbitmq: RabbitMQ
):
    stack, reader = flowing
    broken_rabbitmq.kill()
    eventually(lambda: counts(stack)["dropped"] > 0, 60, "the spool is full")
    now = counts(stack)
    assert now["accepted"] == now["confirmed"] + now["dropped"] + now["spooled"] + now["in_flight"]
    broken_rabbitmq.start()

    def every_hole_is_reported() -> bool:
        holes = {topic for topic, numbers in numbered(list(reader.messages)).items() if holey(numbers)}
        reported = {(gap["topic"], gap["state"]) for gap in gaps_in(reader) if gap["cause"] == "overflow"}
        return bool(holes) and {(topic, state) for topic in holes for state in ("open", "closed")} <= reported

    with reader:
        eventually(lambda: counts(stack)["spooled"] == 0, 30, "what waited is sent")
        eventually(every_hole_is_reported, 60, "every hole is reported, opened and closed")
    rows = stack.call("GET", "/api/v1/gaps?limit=1000")[1]["items"]
    assert {row["cause"] for row in rows} == {"overflow"}


def gaps_in(reader: Reader) -> list[dict[str, str]]:
    return [json.loads(message.body)["data"] for message in list(reader.messages) if message.properties.type == "gap"]


def holey(numbers: list[int]) -> bool:
    return set(numbers) != set(range(1, max(numbers) + 1))


def spilled(stack: Stack) -> bool:
    """The spool holds what is not confirmed."""
    now = counts(stack)
    with sqlite3.connect(f"file:{stack.folder}/spool/market.db?mode=ro", uri=True) as db:
        [(rows,)] = db.execute("SELECT count(*) FROM events").fetchall()
    return bool(rows >= now["accepted"] - now["confirmed"])


def all_confirmed_in_second_life(stack: Stack) -> bool:
    now = counts(stack)
    return bool(now["accepted"] > 0 and now["spooled"] == now["in_flight"] == 0)


def test_a_queue_deleted_by_hand_comes_back(stack: Stack):
    victim = "ws-gateway.ticker.e2e"
    connection = stack.broker.connect()
    connection.channel().queue_delete(victim)
    connection.close()

    def there() -> bool:
        found = stack.broker.connect()
        try:
            return bool(found.channel().queue_declare(victim, passive=True).method.message_count > 0)
        finally:
            found.close()

    eventually(there, 15, "the queue is there again and fills")
    assert stack.processes["ingestor"].running
