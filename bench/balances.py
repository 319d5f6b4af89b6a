"""`python -m bench.balances [--rows N] [--only writing|reading]` measures how balances are written and read.

Writing: the real persister, alone and beside an ingestor under load. Reading: the real api on a ledger of N rows, ten
million by default (some 10 GB and ten minutes), the older ones in months of their own.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

import orjson
import pika

from bench.bridges.ledger import QUEUE
from bench.measuring import flow
from bench.processes import ChildProcess
from bench.world import Sandbox, World, free_port, world
from common import topology
from common.tables.partitions import Month
from tests.kit import wallets
from tests.kit.servers import ROOT, Database
from tests.kit.waiting import eventually

LEDGERS = {"account_balances": 1, "account_margin_balances": 10}  # and the number of coins that a row covers
COINS = 50
MONTHS = 12
KEY = "the-bench-key"
_RATIO = 2.5  # to the bare persister: on a busy machine both are slow
_WALLETS_PER_S, _LOOKED_FOR_S = 20, 30
_REQUESTS = 300  # repetitions of each request
_PAUSE_S = 0.012  # a key is limited to 100 requests per second


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured, and its goal."""

    what: str
    measured: str
    goal: str = ""
    met: bool = True

    def __str__(self) -> str:
        verdict = "" if not self.goal else f"   {'ok' if self.met else 'MISSED'}: {self.goal}"
        return f"{self.what:<62} {self.measured:>24}{verdict}"


class WalletPublisher:
    """Wallet messages at a rate, as the ingestor would publish them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._connection = sandbox.broker.connect()
        self._channel = self._connection.channel()
        self._frame = wallets.real("private.wallet.2023.jsonl")
        self._number = 0

    def send(self, count: int, per_s: float | None = None) -> float:
        """Publish at this rate, or as fast as possible; return the seconds it took."""
        began = time.perf_counter()
        for sent in range(count):
            if per_s is not None:
                self._connection.process_data_events(max(0.0, began + sent / per_s - time.perf_counter()))
            self._channel.basic_publish(topology.EVENTS, "balance.private", self._body(), _PERSISTENT)
        self._connection.process_data_events(0)
        return time.perf_counter() - began

    def close(self) -> None:
        self._connection.close()

    def _body(self) -> bytes:
        self._number += 1
        at_ms = 1_699_764_599_844 + self._number
        data = self._frame.replace(b"1699764599844", b"%d" % at_ms)
        return wallets.live(data, time.time_ns() // 1_000_000, time.time_ns())


_PERSISTENT = pika.BasicProperties(delivery_mode=2)


class Persister:
    """The real persister and its metrics."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._port = free_port()
        env = {**sandbox.database.environ(), **sandbox.broker.environ(), "WS_GATEWAY_METRICS_PORT": str(self._port)}
        self.child = ChildProcess("persister", ["-m", "persister"], env, sandbox.folder)
        eventually(lambda: self.metric("wsgw_persister_consuming"), 20, "the persister reads")

    def metric(self, name: str) -> float:
        return self._metrics().get(name, 0.0)

    def messages(self) -> float:
        return self.metric('wsgw_persister_messages_total{outcome="stored"}')

    def lags(self) -> dict[float, float]:
        """Upper bound in seconds → number of messages with at most this lag."""
        prefix = 'wsgw_persister_lag_seconds_bucket{le="'
        found = self._metrics().items()
        return {float(name[len(prefix) : -2]): value for name, value in found if name.startswith(prefix)}

    def _metrics(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def writing(world: World) -> Iterator[Result]:
    with world.sandbox() as sandbox:
        sandbox.ingestor(private=True)
        with persisting(sandbox) as (persister, publisher):
            yield from _lags("idle", sandbox, persister, 0)
            yield from _lags("beside 3,000 events/s", sandbox, persister, 3_000)
            yield from _sustained(persister, publisher)
    with world.sandbox() as sandbox:
        sandbox.ingestor()
        yield from _backlog(sandbox)


@contextmanager
def persisting(sandbox: Sandbox) -> Iterator[tuple[Persister, WalletPublisher]]:
    persister, publisher = Persister(sandbox), WalletPublisher(sandbox)
    try:
        publisher.send(50, 20)
        yield persister, publisher
    finally:
        publisher.close()
        persister.child.stop()


def _lags(what: str, sandbox: Sandbox, persister: Persister, rate: float) -> Iterator[Result]:
    """From the frame being read off the socket to its commit; the bare one gets the same messages at the same time."""
    bare = ChildProcess(
        "bare", ["-m", "bench.bridges.ledger", sandbox.broker.url(), sandbox.database.url()], {}, sandbox.folder
    )
    with closing(sandbox.broker.connect()) as connection:
        eventually(lambda: connection.channel().queue_declare(QUEUE, passive=True), 20, "the bare one reads")
    before, count = persister.lags(), persister.messages()
    running = flow(sandbox, round(rate * _LOOKED_FOR_S) + 1)
    running.begin(rate, _LOOKED_FOR_S, _WALLETS_PER_S)
    sent = round(_WALLETS_PER_S * _LOOKED_FOR_S)
    eventually(lambda: persister.messages() >= count + sent, _LOOKED_FOR_S + 30, "all are stored")
    running.ended(60)
    bare.stop()
    late = {bound: value - before[bound] for bound, value in persister.lags().items()}
    lags = sorted(json.loads(bare.log().splitlines()[-1]))
    for share, name, most_ms in ((0.5, "p50", 0), (0.99, "p99", 10), (1.0, "the latest", 1000)):
        ours, theirs = _within(late, share) * 1000, lags[min(len(lags) - 1, int(len(lags) * share))]
        goal = f"{most_ms} ms, or {_RATIO} times the bare one's" if most_ms else ""
        met = not goal or ours <= max(most_ms, _RATIO * theirs)
        yield Result(
            f"{what}, {_WALLETS_PER_S} wallet messages/s: {name}", f"{ours:g} ms, bare {theirs:.1f}", goal, met
        )


def _within(late: dict[float, float], share: float) -> float:
    """The smallest bound of the histogram that this share of messages stays within."""
    total = late[float("inf")]
    return min(bound for bound, value in late.items() if value >= share * total)


def _sustained(persister: Persister, publisher: WalletPublisher) -> Iterator[Result]:
    for per_s in (2_000, 3_000, 4_000):
        before, count = persister.lags(), persister.messages()
        took = publisher.send(per_s * 10, per_s)
        eventually(lambda: persister.messages() >= count + per_s * 10, 60, "all are stored")  # noqa: B023
        late = {bound: value - before[bound] for bound, value in persister.lags().items()}
        most, offered = _within(late, 1.0), per_s * 10 / took
        met = most <= 1 and offered > 0.95 * per_s
        goal = "≤ 1 s" if per_s == 2_000 else ""
        yield Result(f"{offered:,.0f} wallet messages/s for 10 s: the latest", f"≤ {most * 1000:g} ms", goal, met)


def _backlog(sandbox: Sandbox) -> Iterator[Result]:
    publisher = WalletPublisher(sandbox)
    publisher.send(100_000)
    publisher.close()
    with closing(sandbox.broker.connect()) as connection:
        channel = connection.channel()

        def waiting() -> int:
            found = channel.queue_declare(topology.BALANCE_QUEUE, passive=True)
            return int(found.method.message_count)

        eventually(lambda: waiting() == 100_000, 60, "the backlog is there")
    began = time.perf_counter()
    persister = Persister(sandbox)
    try:
        eventually(lambda: persister.messages() == 100_000, 200, "the backlog is stored")
        took = time.perf_counter() - began
    finally:
        persister.child.stop()
    [(stored,)] = sandbox.database.execute("SELECT count(*) FROM account_margin_balances")
    yield Result(
        "100,000 messages of backlog (300,000 coins)", f"{took:.1f} s", "< 60 s", took < 60 and stored == 100_000
    )


def reading(world: World, rows: int) -> Iterator[Result]:
    with world.sandbox() as sandbox:
        began = time.perf_counter()
        newest = fill(sandbox.database, rows)
        yield Result(f"{rows:,} rows filled in", f"{time.perf_counter() - began:.0f} s")
        yield from _sizes(sandbox.database, rows)
        with api(sandbox) as get:
            middle = datetime.fromtimestamp(newest - 86400 * 30 * MONTHS / 2, UTC).isoformat().replace("+00:00", "Z")
            yield _timed("latest, all coins", get, "/api/v1/balances", {}, 10)
            yield _timed("latest, one coin", get, "/api/v1/balances", {"coin": "C7"}, 10)
            yield _timed("as known half a year ago, all coins", get, "/api/v1/balances", {"at": middle})
            for what, query in _pages(get, middle):
                yield _timed(f"history, {what}", get, "/api/v1/balances/history", query, 20)


def _pages(get: "Get", middle: str) -> Iterator[tuple[str, dict[str, str]]]:
    yield "one coin, first page", {"coin": "C7"}
    yield "one coin, half a year ago", {"coin": "C7", "to": middle}
    yield "one coin, offset 5,000", {"coin": "C7", "offset": "5000"}
    yield "all coins, first page", {}
    yield "all coins, half a year ago", {"to": middle}
    for what, query in (("one coin", {"coin": "C7", "to": middle}), ("all coins", {"to": middle})):
        cursor = str(get("/api/v1/balances/history", query)["next_cursor"])
        yield f"{what}, by cursor in the middle", {**query, "cursor": cursor}


Get = Callable[[str, dict[str, str]], dict[str, object]]


def _timed(what: str, get: Get, path: str, query: dict[str, str], most_ms: float = 0) -> Result:
    times = []
    for _ in range(_REQUESTS):
        began = time.perf_counter()
        get(path, query)
        times.append((time.perf_counter() - began) * 1000)
        time.sleep(_PAUSE_S)
    times.sort()
    p50, p95 = times[_REQUESTS // 2], times[_REQUESTS * 95 // 100]
    goal = f"p95 ≤ {most_ms:g} ms" if most_ms else ""
    return Result(what, f"p50 {p50:.1f}, p95 {p95:.1f} ms", goal, not most_ms or p95 <= most_ms)


@contextmanager
def api(sandbox: Sandbox) -> Iterator[Get]:
    """The real api under gunicorn, requested over one connection."""
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        **sandbox.database.environ(),
        **sandbox.broker.environ(),
        "WS_GATEWAY_PORT": str(port),
        "WS_GATEWAY_API_KEY": KEY,
        "WS_GATEWAY_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "api.wsgi:app"]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(path: str, query: dict[str, str]) -> dict[str, object]:
        connection.request("GET", f"{path}?{urlencode(query)}", headers={"X-API-Key": KEY})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(body.decode())
        found: dict[str, object] = orjson.loads(body)
        return found

    def answers() -> bool:
        connection.close()  # whatever the state of the last request
        return bool(get("/api/v1/balances", {}))

    try:
        eventually(answers, 30, "the api answers")
        yield get
    finally:
        connection.close()
        process.terminate()
        process.wait(20)


def fill(database: Database, rows: int) -> float:
    """Insert rows spread evenly over the coins and the last year; return the time of the newest. `raw` is real."""
    this_month = Month.of(datetime.now(UTC))
    for number in range(MONTHS + 1):
        for table in LEDGERS:
            begins, ends = this_month.later(-number).begins(), this_month.later(1 - number).begins()
            bounds = f"FROM ('{begins.isoformat()}') TO ('{ends.isoformat()}')"
            partition = this_month.later(-number).partition_of(table)
            database.execute(f"CREATE TABLE IF NOT EXISTS {partition} PARTITION OF {table} FOR VALUES {bounds}")
    event = wallets.understood(wallets.live(wallets.real("private.wallet.2026.jsonl")))
    raw = event.accounts[0].coins[0].text
    step = 86400.0 * 30 * MONTHS / rows
    at_once = 250_000
    every = LEDGERS["account_margin_balances"]
    for first in range(0, rows, at_once):
        database.execute(
            "INSERT INTO account_balances (event_timestamp, event_id, account_no, coin, coin_no, account_type,"
            " wallet_balance, available_balance, frozen, equity, usd_value, locked, spot_hedging_qty, bonus,"
            " borrow_amount, spot_borrow, accrued_interest, total_order_im, total_position_im, total_position_mm,"
            " unrealised_pnl,"
            " cum_realised_pnl, collateral_switch, margin_collateral, received_at, trace_id, origin, raw)"
            f" SELECT now() - make_interval(secs => ({rows} - g) * {step}), md5(g::text), 0, 'C' || g % {COINS}, 0,"
            " 'UNIFIED', 1000 + g * 0.00000001, 900.5, 12.25, 1000.12345678, 1000.5, 0, 0, 0, 0, 0, 0, 0, 6.70702815,"
            " 0.32571423, -0.00148, -0.0664735, true, true, now(), md5(g::text), 'live',"
            f" '{raw}' FROM generate_series({first}, {min(first + at_once, rows) - 1}) g"
        )
        database.execute(
            "INSERT INTO account_margin_balances (event_timestamp, event_id, account_no, account_type, total_equity,"
            " total_wallet_balance, total_margin_balance, total_available_balance, total_perp_upl,"
            " total_initial_margin, total_maintenance_margin, total_initial_margin_by_mp,"
            " total_maintenance_margin_by_mp, account_im_rate, account_mm_rate, account_im_rate_by_mp,"
            " account_mm_rate_by_mp, account_ltv, received_at, trace_id, origin, raw)"
            f" SELECT now() - make_interval(secs => ({rows} - g) * {step}), md5(g::text), 0, 'UNIFIED', 59.24728891,"
            " 95.49571699, 59.14951406, 38.32154203, -36.34620293, 20.82797202, 1.18454802, 20.82797202, 1.18454802,"
            " 0.3521, 0.02, 0.3521, 0.02, 0.0011, now(), md5(g::text), 'live',"
            f" '{event.text}' FROM generate_series({first}, {min(first + at_once, rows) - 1}, {every}) g"
        )
    for table in LEDGERS:
        database.execute(f"VACUUM ANALYZE {table}")
    [(newest,)] = database.execute("SELECT extract(epoch FROM max(event_timestamp)) FROM account_balances")
    return float(newest)


def _sizes(database: Database, rows: int) -> Iterator[Result]:
    for table, coins in LEDGERS.items():
        for what, function in (("rows", "pg_table_size"), ("indexes", "pg_indexes_size")):
            tree = f"SELECT sum({function}(relid)) FROM pg_partition_tree('{table}') WHERE isleaf"
            [(size,)] = database.execute(tree)
            yield Result(f"{table}: {what}, per million", f"{size * coins / rows * 1_000_000 / 2**20:.0f} MiB")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.balances")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--only", choices=["writing", "reading"])
    given = parser.parse_args()
    met = True
    with world() as w:
        for name, lines in (("writing", writing(w)), ("reading", reading(w, given.rows))):
            for line in lines if given.only in (None, name) else ():
                print(line, flush=True)
                met = met and line.met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
