"""Faults of the persister and its dependencies: every balance is stored once, none is lost."""

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pika
import psycopg2.errors
import pytest

from common import topology
from tests.kit import children, servers, wallets
from tests.kit.disks import small_disk
from tests.kit.proxy import Proxy
from tests.kit.servers import ROOT, Broker, Database, Postgres, RabbitMQ, free_port
from tests.kit.waiting import eventually
from tests.kit.wallets import T0_MS

IDS = "SELECT DISTINCT event_id FROM account_balances"


@dataclass
class World:
    """A queue, a ledger, persisters, and what was published."""

    broker: Broker
    database: Database
    folder: Path
    published: list[bytes] = field(default_factory=list)
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    metrics: dict[int, int] = field(default_factory=dict)

    def declare(self) -> None:
        with closing(self.broker.connect()) as connection:
            channel = connection.channel()
            for exchange, kind in ((topology.EVENTS, "topic"), (topology.DEAD, "fanout")):
                channel.exchange_declare(exchange, kind, durable=True)
            dead = topology.dead_queue()
            balances = topology.balance_queue()
            binding = topology.balance_binding()
            channel.queue_declare(dead.name, durable=True, arguments=dead.arguments)
            channel.queue_bind(dead.name, topology.DEAD)
            channel.queue_declare(balances.name, durable=True, arguments=balances.arguments)
            channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)

    def persister(self, **env: str) -> "subprocess.Popen[bytes]":
        port = free_port()
        process = children.start(
            [sys.executable, "-m", "persister"],
            env={
                "PATH": os.environ["PATH"],
                **self.broker.environ(),
                **self.database.environ(),
                "WS_GATEWAY_METRICS_PORT": str(port),
                **env,
            },
            cwd=ROOT,
            stdout=open(self.log_of(len(self.processes)), "wb"),  # noqa: SIM115  (the child keeps it)
        )
        self.processes.append(process)
        self.metrics[process.pid] = port
        return process

    def log_of(self, number: int) -> Path:
        return self.folder / f"persister.{number}.log"

    def figure(self, process: "subprocess.Popen[bytes]", name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics[process.pid]}/metrics", timeout=5) as answer:
            lines: list[str] = answer.read().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def publish(self, count: int) -> None:
        """Publish this number of new messages and wait for their confirms."""
        with closing(self.broker.connect()) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for _ in range(count):
                number = len(self.published)
                held = wallets.account(wallets.coin("USDT", walletBalance=str(number)), wallets.coin("BTC"))
                body = wallets.live(wallets.frame(held, at_ms=T0_MS + number), T0_MS + number)
                properties = pika.BasicProperties(delivery_mode=2)
                channel.basic_publish(topology.EVENTS, "balance.private", body, properties, mandatory=True)
                self.published.append(body)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Publish messages as fast as the broker confirms them, until the block ends."""
        enough = threading.Event()

        def publish() -> None:
            while not enough.is_set():
                self.publish(50)

        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            yield
        finally:
            enough.set()
            publisher.join(60)

    def goes_on(self) -> None:
        """Wait until more is stored than is now."""
        stored = len(self.database.execute(IDS))
        eventually(lambda: len(self.database.execute(IDS)) > stored, 60, "it stores some")

    def waiting(self) -> int:
        """The number of ready messages in the queue."""
        with closing(self.broker.connect()) as connection:
            found = connection.channel().queue_declare(topology.BALANCE_QUEUE, passive=True)
            return int(found.method.message_count)

    def complete(self, within_s: float = 60.0) -> None:
        """All messages are in the ledger once, in order of arrival, and the queue is empty."""
        expected = {wallets.understood(body).id for body in self.published}
        eventually(lambda: {row[0] for row in self.database.execute(IDS)} == expected, within_s, "all are stored")
        eventually(lambda: self.waiting() == 0, within_s, "the queue is empty")
        counts = "count(*), count(DISTINCT (event_id, coin)), count(*) FILTER (WHERE coin = 'USDT')"
        rows = self.database.execute(f"SELECT {counts} FROM account_balances")
        assert rows == [(2 * len(expected), 2 * len(expected), len(expected))]
        assert self.database.execute("SELECT count(*) FROM account_margin_balances") == [(len(expected),)]
        arrival = self.database.execute("SELECT wallet_balance FROM account_balances WHERE coin = 'USDT' ORDER BY id")
        assert [int(row[0]) for row in arrival] == list(range(len(expected))), "in order"
        latest = self.database.execute("SELECT wallet_balance FROM latest_account_balances WHERE coin = 'USDT'")
        assert latest == [(len(expected) - 1,)]
        with closing(self.broker.connect()) as connection:
            assert connection.channel().queue_declare(topology.DEAD, passive=True).method.message_count == 0

    def end(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait(10)


@pytest.fixture
def world(broker: Broker, database: Database, tmp_path: Path) -> Iterator[World]:
    made = World(broker, database, tmp_path)
    made.declare()
    yield made
    made.end()


@pytest.fixture
def own_database(own_postgres: Postgres) -> Database:
    servers.migrate(own_postgres.on())
    return own_postgres.on()


@pytest.fixture
def breakable(broker: Broker, own_database: Database, tmp_path: Path) -> Iterator[World]:
    """A world whose Postgres may be broken."""
    made = World(broker, own_database, tmp_path)
    made.declare()
    yield made
    made.end()


def stopped(server: Postgres) -> Callable[[], None]:
    server.stop()
    return server.start


def killed(server: Postgres) -> Callable[[], None]:
    server.kill()
    return server.start


def frozen(server: Postgres) -> Callable[[], None]:
    server.pause()
    return server.resume


@pytest.mark.parametrize("broken", [stopped, killed, frozen])
def test_while_postgres_is_unavailable_the_queue_keeps_everything(
    breakable: World, own_postgres: Postgres, broken: Callable[[Postgres], Callable[[], None]]
) -> None:
    process = breakable.persister()
    breakable.publish(20)
    breakable.complete()
    mend = broken(own_postgres)
    breakable.publish(250)
    eventually(lambda: breakable.waiting() == 250, 40, "nothing is held by the persister")
    mend()
    breakable.complete()
    breakable.publish(5)
    breakable.complete()
    assert process.poll() is None
    assert breakable.log_of(0).read_text().count("dependency unavailable") == 1


def refused(database: Database, statement: str, back: str) -> Iterator[None]:
    database.execute(statement)
    yield
    database.execute(back)


def read_only(database: Database) -> Iterator[None]:
    name = f'"{database.name}"'
    yield from refused(
        database,
        f"ALTER DATABASE {name} SET default_transaction_read_only = on",
        f"BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT",
    )


def locked(database: Database) -> Iterator[None]:
    with closing(database.connect()) as connection:
        connection.cursor().execute("LOCK TABLE account_balances IN EXCLUSIVE MODE")  # may still be read
        yield


@pytest.mark.parametrize("refusing", [read_only, locked])
def test_while_postgres_refuses_the_queue_keeps_everything(
    world: World, refusing: Callable[[Database], Iterator[None]]
) -> None:
    refusal = refusing(world.database)
    next(refusal)
    process = world.persister()
    world.publish(150)
    eventually(lambda: b"dependency unavailable" in world.log_of(0).read_bytes(), 40, "the persister notices")
    eventually(lambda: world.waiting() == 150, 40, "nothing is held by the persister")
    assert world.database.execute(IDS) == []
    next(refusal, None)
    world.complete()
    assert process.poll() is None
    log = world.log_of(0).read_text()
    assert (log.count("dependency unavailable"), log.count("critical")) == (1, 0)
    assert log.count("reading balances") <= 2


def test_locked_against_readers_too_while_it_works_the_queue_keeps_everything(world: World) -> None:
    process = world.persister()
    world.publish(20)
    world.complete()
    with closing(world.database.connect()) as holder:
        holder.cursor().execute("LOCK TABLE account_balances, latest_account_balances, account_margin_balances")
        world.publish(250)
        eventually(lambda: world.waiting() == 250, 40, "nothing is held by the persister")
    world.complete()
    assert process.poll() is None
    assert world.log_of(0).read_text().count("dependency unavailable") == 1


@pytest.fixture
def cramped(broker: Broker, own_postgres: Postgres, tmp_path: Path) -> Iterator[World]:
    """A world whose tables are on a disk of 64 MiB."""
    owner = (own_postgres.folder / "data").stat()
    with TemporaryDirectory() as folder, small_disk(Path(folder), 64 * 2**20):  # the server may not enter tmp_path
        os.chown(folder, owner.st_uid, owner.st_gid)
        own_postgres.on().execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        own_postgres.on().execute("CREATE DATABASE cramped TABLESPACE small")
        servers.migrate(own_postgres.on("cramped"))
        made = World(broker, own_postgres.on("cramped"), tmp_path)
        made.declare()
        yield made
        made.end()
        own_postgres.stop()


def fill(database: Database) -> None:
    """Wait until the disk is full."""
    database.execute("CREATE TABLE ballast (bytes text)")
    database.execute("ALTER TABLE ballast ALTER bytes SET STORAGE PLAIN")
    for size in (500, 1):  # pages
        with suppress(psycopg2.errors.DiskFull):
            while True:
                database.execute(f"INSERT INTO ballast SELECT repeat('x', 8000) FROM generate_series(1, {size})")


def test_while_the_disk_of_postgres_is_full_the_queue_keeps_everything(cramped: World) -> None:
    process = cramped.persister()
    cramped.publish(20)
    cramped.complete()
    fill(cramped.database)
    cramped.publish(500)
    eventually(lambda: b"No space left on device" in cramped.log_of(0).read_bytes(), 40, "the persister notices")
    # A reader may be the one who has to make room in memory by writing.
    stored = eventually(lambda: len(cramped.database.execute(IDS)), 40, "what is stored can be read")
    eventually(lambda: cramped.waiting() == 520 - stored, 40, "nothing is held by the persister")
    cramped.database.execute("DROP TABLE ballast")
    cramped.complete()
    assert process.poll() is None
    assert cramped.log_of(0).read_text().count("dependency unavailable") == 1


def test_killed_between_commit_and_ack_it_stores_nothing_twice(world: World) -> None:
    with Proxy(world.broker.host, world.broker.port) as proxy:
        first = world.persister(RABBITMQ_PORT=str(proxy.port))
        eventually(lambda: world.figure(first, "wsgw_persister_consuming") == 1, 20, "it reads")
        with closing(world.database.connect()) as holder:
            holder.cursor().execute("LOCK TABLE account_margin_balances IN EXCLUSIVE MODE")
            world.publish(1)
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            eventually(lambda: world.database.execute(waits), 10, "it is writing")
            proxy.deafen()
        eventually(lambda: world.database.execute(IDS), 10, "it has committed, and its ack does not get through")
        first.kill()
        first.wait(10)
    second = world.persister()
    world.complete()
    assert world.figure(second, 'wsgw_persister_messages_total{outcome="repeated"}') == 1


def test_killed_again_and_again_under_load_it_loses_and_doubles_nothing(world: World) -> None:
    with world.load():
        for _ in range(10):
            process = world.persister()
            world.goes_on()
            process.kill()
    world.persister()
    world.complete()


def test_postgres_killed_again_and_again_under_load(breakable: World, own_postgres: Postgres) -> None:
    with breakable.load():
        breakable.persister()
        for _ in range(5):
            breakable.goes_on()
            own_postgres.kill()
            own_postgres.start()
    breakable.complete()


def test_both_killed_in_turns_under_load(breakable: World, own_postgres: Postgres) -> None:
    with breakable.load():
        for _ in range(4):
            process = breakable.persister()
            breakable.goes_on()
            own_postgres.kill()
            process.kill()
            own_postgres.start()
    breakable.persister()
    breakable.complete()


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_of_two_persisters_one_is_active_and_the_other_takes_over(world: World, fate: signal.Signals) -> None:
    first, second = world.persister(), world.persister()
    for process in (first, second):
        eventually(lambda: world.figure(process, "wsgw_persister_consuming") == 1, 20, "it waits")  # noqa: B023
    world.publish(100)
    world.complete()
    stored = 'wsgw_persister_messages_total{outcome="stored"}'
    shares = [world.figure(process, stored) for process in (first, second)]
    assert sorted(shares) == [0, 100], "one of them has done all"
    active, standby = (first, second) if shares[0] else (second, first)
    active.send_signal(fate)
    if fate != signal.SIGSTOP:
        active.wait(5)
    world.publish(100)
    world.complete(within_s=10)
    assert world.figure(standby, stored) == 100


def test_stopped_in_the_middle_it_leaves_in_order(world: World) -> None:
    world.publish(500)
    process = world.persister()
    eventually(lambda: world.database.execute(IDS), 20, "it has begun")
    process.terminate()
    assert process.wait(5) == 0
    assert world.waiting() + len(world.database.execute(IDS)) == 500, "what is stored is acknowledged, the rest waits"
    world.persister()
    world.complete()


def test_it_stops_even_while_postgres_is_frozen(breakable: World, own_postgres: Postgres) -> None:
    process = breakable.persister()
    breakable.publish(20)
    breakable.complete()
    own_postgres.pause()
    breakable.publish(20)
    eventually(lambda: breakable.waiting() < 20, 10, "it is writing")
    process.terminate()
    process.wait(10)
    own_postgres.resume()
    breakable.persister()
    breakable.complete()


def test_a_broker_that_comes_back_is_read_again(own_rabbitmq: RabbitMQ, database: Database, tmp_path: Path) -> None:
    world = World(own_rabbitmq.on(), database, tmp_path)
    world.declare()
    process = world.persister()
    for broken in (own_rabbitmq.stop, own_rabbitmq.kill):
        world.publish(30)
        world.complete()
        broken()
        own_rabbitmq.start()
    world.publish(30)
    world.complete()
    assert process.poll() is None
    assert world.log_of(0).read_text().count("dependency unavailable") == 2
    world.end()


def test_what_is_published_twice_is_stored_once(world: World) -> None:
    world.persister()
    world.publish(50)
    repeats = list(world.published)
    with closing(world.broker.connect()) as connection:
        channel = connection.channel()
        for body in (*repeats, *reversed(repeats)):
            channel.basic_publish(topology.EVENTS, "balance.private", body)
    world.publish(50)
    world.complete()
