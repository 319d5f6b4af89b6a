"""The simulator as a process and as a web server."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from simulator.signing import Credentials

ROOT = Path(__file__).resolve().parents[3]


def rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def test_it_ends_cleanly_with_clients_on_it(start_simulator, open_socket: Callable[[str], Any]):
    simulator = start_simulator()
    peer = open_socket(simulator.ws_url + "/v5/public/linear")
    peer.subscribe("orderbook.50.BTCUSDT")
    peer.topic("orderbook.50.BTCUSDT")
    simulator.process.send_signal(signal.SIGINT)
    assert simulator.process.wait(10) == 0


def test_it_logs_one_json_object_per_line(start_simulator):
    simulator = start_simulator()
    simulator.process.send_signal(signal.SIGTERM)
    lines = [json.loads(line) for line in simulator.process.stdout]
    assert simulator.process.wait(10) == 0
    assert {"timestamp", "level", "logger", "event", "process"} <= set(lines[-1])
    assert lines[-1]["event"] == "stopping"


def test_a_port_that_is_taken_is_named(simulator):
    command = [sys.executable, "-m", "simulator", "--port", str(simulator.port)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 78
    line = json.loads(second.stdout)
    assert (line["level"], line["event"]) == ("critical", "cannot start")
    assert str(simulator.port) in line["problem"]


def test_it_is_small(start_simulator, open_socket: Callable[[str], Any]):
    simulator = start_simulator()
    peer = open_socket(simulator.ws_url + "/v5/public/linear")
    peer.subscribe("orderbook.200.BTCUSDT", "orderbook.1000.XRPUSDT")
    peer.topic("orderbook.1000.XRPUSDT")
    assert rss_mib(simulator.process.pid) < 70


def test_key_and_secret_come_from_the_environment(start_simulator):
    simulator = start_simulator(SIMULATOR_KEY="mine", SIMULATOR_SECRET="hidden")
    assert "hidden" not in Path(f"/proc/{simulator.process.pid}/cmdline").read_text()
    answer = signed(simulator, Credentials("mine", "hidden"), "accountType=UNIFIED")
    assert answer["retCode"] == 0


def signed(simulator: Any, credentials: Credentials, query: str, age_ms: int = 0) -> Any:
    stamp = str(time.time_ns() // 1_000_000 - age_ms)
    headers = {
        "X-BAPI-API-KEY": credentials.key,
        "X-BAPI-TIMESTAMP": stamp,
        "X-BAPI-SIGN": credentials.sign(f"{stamp}{credentials.key}5000{query}"),
        "X-BAPI-RECV-WINDOW": "5000",
    }
    url = f"{simulator.rest_url}/v5/account/wallet-balance?{query}"
    return requests.get(url, headers=headers, timeout=10).json()


def test_the_query_is_signed_exactly_as_it_was_sent(simulator):
    credentials = Credentials("simulator-key", "simulator-secret")
    answer = signed(simulator, credentials, "accountType=UNIFIED&coin=USDT%2CUSDC")
    assert [row["coin"] for row in answer["result"]["list"][0]["coin"]] == ["USDT", "USDC"]
    assert signed(simulator, credentials, "accountType=UNIFIED", age_ms=6000)["retCode"] == 10002


def test_answers_come_in_an_envelope(simulator):
    answer = simulator.get("/v5/market/time")
    assert list(answer) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    assert answer["result"]["timeSecond"] == str(answer["time"] // 1000)


def test_what_is_not_there(simulator):
    assert requests.get(simulator.rest_url + "/v5/nope", timeout=10).status_code == 404
    assert requests.get(simulator.rest_url + "/v5/user/query-api", timeout=10).status_code == 401


def test_wallet_pushes_agree_with_rest(simulator, open_socket: Callable[[str], Any]):
    credentials = Credentials("simulator-key", "simulator-secret")
    peer = open_socket(simulator.ws_url + "/v5/private")
    expires = time.time_ns() // 1_000_000 + 10_000
    auth = ["simulator-key", expires, credentials.sign(f"GET/realtime{expires}")]
    assert peer.ask({"op": "auth", "args": auth})["success"] is True
    peer.subscribe("wallet")
    pushed: dict[str, set[str]] = {}
    answer = signed(simulator, credentials, "accountType=UNIFIED&coin=USDT")
    balance = answer["result"]["list"][0]["coin"][0]["walletBalance"]
    while balance not in pushed.setdefault("USDT", set()):
        for coin in peer.topic("wallet")["data"][0]["coin"]:
            pushed.setdefault(coin["coin"], set()).add(coin["walletBalance"])
        answer = signed(simulator, credentials, "accountType=UNIFIED&coin=USDT")
        balance = answer["result"]["list"][0]["coin"][0]["walletBalance"]
