"""The persister as supervisor starts it."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping

import pytest

from tests.contract.persister.conftest import Queue, rows
from tests.kit import children, wallets
from tests.kit.servers import ROOT, Broker, Database, free_port
from tests.kit.waiting import eventually

Process = subprocess.Popen[str]


def started(env: Mapping[str, str]) -> Process:
    return children.start(
        [sys.executable, "-m", "persister"],
        env={"PATH": os.environ["PATH"], **env},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def env(broker: Broker, database: Database) -> dict[str, str]:
    return broker.environ() | database.environ() | {"WS_GATEWAY_METRICS_PORT": str(free_port())}


@pytest.fixture
def process(env: dict[str, str]) -> Iterator[Process]:
    running = started(env)
    yield running
    running.kill()
    running.communicate()


def metrics(env: Mapping[str, str]) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{env['WS_GATEWAY_METRICS_PORT']}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def test_it_stores_counts_and_stops_in_order(
    queue: Queue, process: Process, env: dict[str, str], database: Database
) -> None:
    queue.publish(wallets.live(wallets.real("private.wallet.2023.jsonl")))
    rows(database, "SELECT 1 FROM account_balances", 3)
    eventually(lambda: not queue.unsettled(), 10, "the message is acknowledged")
    shown = metrics(env)
    assert 'wsgw_persister_rows_written_total{table="account_balances"} 3.0' in shown
    assert 'wsgw_persister_messages_total{outcome="stored"} 1.0' in shown
    assert "wsgw_persister_lag_seconds_count 1.0" in shown
    assert "wsgw_persister_consuming 1.0" in shown
    assert "_created" not in shown
    process.terminate()
    out, err = process.communicate(timeout=5)
    assert (process.returncode, err) == (0, "")
    assert "stopped" in [json.loads(entry)["event"] for entry in out.splitlines()]


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("POSTGRES_PASSWORD", "", "POSTGRES_PASSWORD is required; set it or POSTGRES_PASSWORD_FILE"),
        ("WS_GATEWAY_METRICS_PORT", "many", "WS_GATEWAY_METRICS_PORT='many': "),
        ("WS_GATEWAY_BALANCE_RETENTION_MONTHS", "-1", "WS_GATEWAY_BALANCE_RETENTION_MONTHS='-1': "),
    ],
)
def test_a_wrong_setting_ends_it_with_one_line_naming_it(variable: str, value: str, text: str) -> None:
    env = {"POSTGRES_PASSWORD": "x", "RABBITMQ_PASSWORD": "x", variable: value}
    done = started(env)
    out, err = done.communicate(timeout=20)
    assert (done.returncode, out) == (78, "")
    [entry] = err.splitlines()
    assert entry.startswith(f"persister: {text}")


def test_dependencies_that_are_unavailable_are_waited_for(env: dict[str, str]) -> None:
    nowhere = {"POSTGRES_PORT": str(free_port()), "RABBITMQ_PORT": str(free_port())}
    process = started(env | nowhere)
    eventually(lambda: metrics(env), 20, "it runs")
    process.terminate()
    out, _ = process.communicate(timeout=5)
    assert process.returncode == 0
    assert out.count("dependency unavailable") == 1
