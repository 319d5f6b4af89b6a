"""Compares the api with a minimal implementation: `python -m bench.api [--seconds N]`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from subprocess import PIPE
from typing import Any

from bench.frames import topics
from bench.measuring import WARM_S, Measurement, measured
from bench.meters import Meter
from bench.world import world
from common.views import subscription_status
from deploy.run.processes import family_of
from tests.kit import servers
from tests.kit.servers import ROOT, Database, Postgres, free_port
from tests.kit.waiting import eventually

KEY = "bench"
PATH = "/api/v1/subscriptions"
ROWS = 10_000
Row = dict[str, Any]
_firsts = count(0, 1_000_000)
_SEED = f"""
INSERT INTO subscriptions (id, channel_type, category, symbol, endpoint, topic, routing_key, requesting_service,
    is_active, generation)
SELECT gen_random_uuid(), 'trades', 'linear', 'S' || i, 'linear', 'publicTrade.S' || i, 'trades.linear.S' || i,
    'service-' || i % 20, true, nextval('subscription_generation')
FROM generate_series(1, {ROWS}) AS i
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server command; its last argument is the port."""

    name: str
    command: tuple[str, ...]
    port: str = "--bind=127.0.0.1:{port}"


@dataclass(frozen=True, slots=True)
class Case:
    """The request: a list with `limit` rows; or, with 0, a subscription: a new one or one of `distinct` ones."""

    method: str
    limit: int
    connections: int
    distinct: int = 0

    @property
    def name(self) -> str:
        return f"{self.method} {self.limit or ''}".strip()


_THREADS = ("--worker-class", "gthread", "--workers", "2", "--threads", "8", "--keep-alive", "5")
_QUIET = ("--log-level", "warning", "--worker-tmp-dir", "/dev/shm", "--no-control-socket")
_GUNICORN = (sys.executable, "-m", "gunicorn")
OURS = Contender("ours", (*_GUNICORN, "-c", str(ROOT / "deploy" / "gunicorn.conf.py"), "api.wsgi:app"))
BARE = Contender("bare", (*_GUNICORN, *_THREADS, *_QUIET, "bench.bare_api:app"))
CASES = [Case(*each) for each in (("GET", 100, 8), ("GET", 20, 8), ("POST", 0, 8), ("GET", 100, 32), ("POST", 0, 32))]


@contextmanager
def serving(contender: Contender, database: Database, folder: Path) -> Iterator[tuple[int, list[Meter]]]:
    port = free_port()
    env = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **database.environ(),
        "PYTHONPATH": str(ROOT),
        "RABBITMQ_PASSWORD": "none",
        "RABBITMQ_PORT": "1",
        "BENCH_STATEMENTS": json.dumps(_statements()),
        "WS_GATEWAY_API_KEY": KEY,
        "WS_GATEWAY_PORT": str(port),
        "WS_GATEWAY_REQUESTS_PER_KEY": "1000000",
        "WS_GATEWAY_REQUESTS_PER_ADDRESS": "1000000",
        "WS_GATEWAY_SUBSCRIPTIONS_PER_SERVICE": "1000000",
        "WS_GATEWAY_SUBSCRIPTIONS_IN_TOTAL": "1000000",
    }
    command = [*contender.command, contender.port.format(port=port)]
    with (folder / f"{contender.name}.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: _answers(port), 30, f"{contender.name} answers")
        yield port, [Meter(pid) for pid in family_of(process.pid)]
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=5) as reply:
        return bool(reply.status == 200)


def start_clients(port: int, case: Case, seconds: float) -> subprocess.Popen[str]:
    command = {
        "port": port,
        "method": case.method,
        "path": f"{PATH}?limit={case.limit}" if case.limit else PATH,
        "headers": f"X-API-Key: {KEY}\r\n",
        "connections": case.connections,
        "seconds": seconds,
        "first": 0 if case.distinct else next(_firsts),
        "distinct": case.distinct,
        "service": "bench",
    }
    client = subprocess.Popen(
        [sys.executable, "-m", "bench.http_clients"], stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT
    )
    assert client.stdin is not None
    client.stdin.write(json.dumps(command))
    client.stdin.close()
    return client


def requested(port: int, case: Case, seconds: float) -> Row:
    client = start_clients(port, case, seconds)
    assert client.stdout is not None
    found: Row = json.loads(client.stdout.read())
    client.wait()
    return found


@dataclass(slots=True)
class RunningApi:
    """A contender on 10,000 rows of its own."""

    port: int
    meters: list[Meter]
    rounds: list[Row] = field(default_factory=list)

    def turn(self, case: Case, seconds: float) -> None:
        before_s = sum(meter.cpu_s() for meter in self.meters)
        result = requested(self.port, case, seconds)
        used_s = sum(meter.cpu_s() for meter in self.meters) - before_s
        self.rounds.append(result | {"cpu_us": round(used_s * 1e6 / result["answers"])})

    def result(self) -> Row:
        """The median of all rounds, and all response statuses."""
        statuses = Counter[str]()
        for each in self.rounds:
            statuses.update(each["statuses"])
        names = [name for name in self.rounds[0] if name != "statuses"]
        return {name: median(each[name] for each in self.rounds) for name in names} | {"statuses": statuses}


@contextmanager
def running(server: Postgres, template: Database, contender: Contender) -> Iterator[RunningApi]:
    with (
        servers.fresh_database(server, template) as database,
        tempfile.TemporaryDirectory(prefix="bench-api-") as folder,
    ):
        database.execute(_SEED)
        database.execute("VACUUM ANALYZE subscriptions")
        with serving(contender, database, Path(folder)) as (port, meters):
            yield RunningApi(port, meters)


def compared(
    server: Postgres, template: Database, case: Case, contenders: Sequence[Contender], rounds: int, seconds: float
) -> dict[str, Row]:
    """Measure in turn, so that all run under the same conditions."""
    with ExitStack() as stack:
        all_ = {each.name: stack.enter_context(running(server, template, each)) for each in contenders}
        for each in all_.values():
            requested(each.port, case, min(1.0, seconds))
        for _ in range(rounds):
            for each in all_.values():
                each.turn(case, seconds)
        return {name: each.result() for name, each in all_.items()}


@contextmanager
def asynchronous() -> Iterator[Contender]:
    """FastAPI and asyncpg in an environment of their own, made for this run."""
    with tempfile.TemporaryDirectory(prefix="bench-fastapi-") as folder:
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "fastapi", "uvicorn", "asyncpg"], check=True)
        uvicorn = (python, "-m", "uvicorn", "--workers=2", "--log-level=warning", "bench.fast_api:app")
        yield Contender("async", uvicorn, "--port={port}")


def _statements() -> dict[str, str]:
    """The list's, as asyncpg wants them."""
    page, _ = subscription_status.statements(())
    return {"page": str(page).replace(":most", "$1").replace(":passed", "$2")}


def beside_events(seconds: float) -> Measurement:
    """Latency of events while the api is saturated by lists and by services that subscribe again at their start."""
    with world() as one, one.sandbox() as sandbox:
        ingestor = sandbox.ingestor()
        with serving(OURS, sandbox.database, sandbox.folder) as (port, _):
            again = Case("POST", 0, 16, distinct=100)
            requested(port, again, 1.0)
            eventually(lambda: one.held() == len(topics()) + again.distinct, 30, "the subscriptions are carried out")
            crowd = [start_clients(port, case, seconds + WARM_S + 2) for case in (Case("GET", 20, 16), again)]
            row = measured(sandbox, ingestor, "api", 3_000, seconds)
            answers = [json.loads(each.stdout.read()) for each in crowd if each.stdout]
    print(f"       the api answered {sum(each['per_s'] for each in answers):,}/s meanwhile")
    return row


def line(who: str, case: Case, row: Row) -> str:
    refused = {status: number for status, number in row["statuses"].items() if status not in ("200", "201")}
    return (
        f"{who:6} {case.name:9} {case.connections:3} connections  {row['per_s']:7,.0f}/s  p50 {row['p50_ms']:7.2f}  "
        f"p95 {row['p95_ms']:7.2f}  p99 {row['p99_ms']:7.2f} ms  {row['cpu_us']:5.0f} µs CPU  {refused or ''}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each; the median counts")
    parser.add_argument("--fastapi", action="store_true", help="beside FastAPI and asyncpg, too (installs them)")
    parser.add_argument("--only-events", action="store_true", help="only how long events take beside a busy api")
    given = parser.parse_args()
    with ExitStack() as stack:
        others = [stack.enter_context(asynchronous())] if given.fastapi else []
        if not given.only_events:
            compare([BARE, *others, OURS], given.rounds, given.seconds)
    row = beside_events(10)
    print(f"events beside a busy api: {row.per_s:,.0f}/s, lost {row.lost}, p50 {row.p50_ms} ms, p99 {row.p99_ms} ms")
    return 0


def compare(contenders: Sequence[Contender], rounds: int, seconds: float) -> None:
    with private_postgres() as (server, template):
        for case in CASES:
            able = [each for each in contenders if each.name != "async" or case.method == "GET"]
            rows = compared(server, template, case, able, rounds, seconds)
            for who, row in rows.items():
                print(line(who, case, row), flush=True)
            for who in rows.keys() - {"ours"}:
                cpu, speed = (rows["ours"][what] / rows[who][what] for what in ("cpu_us", "per_s"))
                print(f"       ours / {who}: {cpu:.2f} of the CPU, {speed:.2f} of the speed", flush=True)


@contextmanager
def private_postgres() -> Iterator[tuple[Postgres, Database]]:
    with tempfile.TemporaryDirectory(prefix="bench-api-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        server = Postgres(Path(folder))
        try:
            server.start()
            server.on().execute("CREATE DATABASE migrated")
            servers.migrate(server.on("migrated"))
            yield server, server.on("migrated")
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
