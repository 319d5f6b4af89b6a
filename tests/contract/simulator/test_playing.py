"""What a client receives of the recording: endless and shared by default, byte for byte with `--exact`."""

import gzip
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

RECORDING = Path(__file__).resolve().parents[3] / "simulator" / "data" / "linear.session.jsonl.gz"
TOPICS = ("tickers.SOLUSDT", "orderbook.200.BTCUSDT", "publicTrade.DOGEUSDT", "kline.1.ETHUSDT")


def recorded(*topics: str) -> list[str]:
    """The frames of some topics as the recorder wrote them down, in order."""
    lines = [json.loads(line) for line in gzip.decompress(RECORDING.read_bytes()).decode().splitlines()]
    frames = [line["data"] for line in lines if line["t"] == "recv"]
    return [frame for frame in frames if json.loads(frame).get("topic") in topics]


def data_frames(peer: Any, count: int) -> list[str]:
    """This number of frames that carry data, as they arrived."""
    frames: list[str] = []
    while len(frames) < count:
        text = peer.text()
        if "topic" in json.loads(text):
            frames.append(text)
    return frames


def test_exact_is_exact_and_once_per_connection(start_simulator, open_socket: Callable[[str], Any]):
    simulator = start_simulator("--exact", "--speed", "200")
    expected = recorded(*TOPICS)
    for _ in range(2):
        peer = open_socket(simulator.ws_url + "/v5/public/linear")
        for topic in TOPICS:
            peer.subscribe(topic)
            assert peer.read()["success"] is True
        assert data_frames(peer, len(expected)) == expected
        assert peer.ask({"op": "ping"})["ret_msg"] == "pong"


def test_exact_takes_another_recording(start_simulator, open_socket: Callable[[str], Any], tmp_path: Path):
    frames = ['{"topic": "tickers.MADEUPUSDT",  "ts":1}', '{"topic": "tickers.MADEUPUSDT", "ts":2, "x":1.50}']
    rows = [{"t": "connect", "conn": "1", "ts": 1.0, "addr": "wss://stream.bybit.com/v5/public/spot"}]
    rows += [{"t": "recv", "conn": "1", "ts": 2.0 + n / 10, "data": text} for n, text in enumerate(frames)]
    path = tmp_path / "recording.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    simulator = start_simulator("--exact", "--recording", str(path))
    peer = open_socket(simulator.ws_url + "/v5/public/spot")
    peer.subscribe("tickers.MADEUPUSDT")
    assert data_frames(peer, 2) == frames


def test_exact_leaves_the_other_endpoints_alive(start_simulator, open_socket: Callable[[str], Any]):
    peer = open_socket(start_simulator("--exact").ws_url + "/v5/public/spot")
    peer.subscribe("orderbook.50.BTCUSDT")
    assert peer.topic("orderbook.50.BTCUSDT")["type"] == "snapshot"


def test_everybody_sees_the_same_market(simulator, open_socket: Callable[[str], Any]):
    early, late = (open_socket(simulator.ws_url + "/v5/public/linear") for _ in range(2))
    early.subscribe("orderbook.200.ETHUSDT")
    seen = {frame["data"]["u"]: frame for frame in (early.topic("orderbook.200.ETHUSDT") for _ in range(4))}
    late.subscribe("orderbook.200.ETHUSDT")
    snapshot = late.topic("orderbook.200.ETHUSDT")
    after = [late.topic("orderbook.200.ETHUSDT") for _ in range(4)]
    while max(seen) < after[-1]["data"]["u"]:
        frame = early.topic("orderbook.200.ETHUSDT")
        seen[frame["data"]["u"]] = frame
    assert snapshot["type"] == "snapshot"
    assert snapshot["data"]["u"] in seen
    assert all(b["data"]["u"] == a["data"]["u"] + 1 for a, b in pairwise([snapshot, *after]))
    assert all(frame == seen[frame["data"]["u"]] for frame in after)


@pytest.mark.parametrize("endpoint", ["spot", "linear", "inverse"])
def test_the_order_of_ack_and_data(simulator, open_socket: Callable[[str], Any], endpoint: str):
    peer = open_socket(f"{simulator.ws_url}/v5/public/{endpoint}")
    peer.subscribe("tickers.BTCUSD" if endpoint == "inverse" else "tickers.BTCUSDT")
    assert ("topic" in peer.read()) == (endpoint != "spot")
