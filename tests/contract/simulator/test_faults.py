"""Whatever can go wrong at an exchange can be made to go wrong here."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import websocket

from simulator.signing import Credentials

CREDENTIALS = Credentials("simulator-key", "simulator-secret")
WITHIN_S = 10.0
BOOK = "orderbook.50.BTCUSDT"
WALLET = "/v5/account/wallet-balance"

Control = Callable[..., Any]
Opener = Callable[[str], Any]


@pytest.fixture
def control(simulator) -> Iterator[Control]:
    """Posts to the control interface; afterwards nothing stays broken."""

    def post(name: str, **fields: Any) -> Any:
        answer = requests.post(f"{simulator.rest_url}/control/{name}", json=fields, timeout=WITHIN_S)
        assert answer.status_code == 200, answer.text
        return answer.json()

    yield post
    requests.delete(f"{simulator.rest_url}/control/faults", timeout=WITHIN_S)


@pytest.fixture
def linear(simulator, open_socket: Opener) -> Any:
    return open_socket(simulator.ws_url + "/v5/public/linear")


@pytest.fixture
def private(simulator, open_socket: Opener) -> Any:
    peer = open_socket(simulator.ws_url + "/v5/private")
    assert peer.ask(sign_in())["success"] is True
    return peer


def sign_in() -> dict[str, Any]:
    expires = time.time_ns() // 1_000_000 + 10_000
    return {"op": "auth", "args": [CREDENTIALS.key, expires, CREDENTIALS.sign(f"GET/realtime{expires}")]}


def signed(simulator: Any, path: str, query: str) -> Any:
    stamp = str(time.time_ns() // 1_000_000)
    headers = {
        "X-BAPI-API-KEY": CREDENTIALS.key,
        "X-BAPI-TIMESTAMP": stamp,
        "X-BAPI-SIGN": CREDENTIALS.sign(f"{stamp}{CREDENTIALS.key}5000{query}"),
        "X-BAPI-RECV-WINDOW": "5000",
    }
    return requests.get(f"{simulator.rest_url}{path}?{query}", headers=headers, timeout=WITHIN_S).json()


def holding(peer: Any, topic: str) -> Any:
    """A peer that is subscribed to a topic."""
    peer.subscribe(topic)
    peer.topic(topic)
    return peer


def conn_id(peer: Any) -> str:
    found: str = peer.ask({"op": "ping"})["conn_id"]
    return found


def ended(peer: Any) -> websocket.WebSocketException | OSError:
    try:
        while True:
            opcode, payload = peer.socket.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return websocket.WebSocketException(int.from_bytes(payload[:2], "big"), payload[2:].decode())
    except (websocket.WebSocketException, OSError) as error:
        return error


def test_connections_are_listed(simulator, linear: Any, control: Control):
    holding(linear, BOOK)
    mine = conn_id(linear)
    listed = {c["id"]: c for c in simulator.get("/control/connections")["connections"]}
    assert (listed[mine]["endpoint"], listed[mine]["topics"]) == ("linear", [BOOK])
    assert listed[mine]["sent"] > 0


def test_drop_sends_a_close_frame(linear: Any, control: Control):
    mine = conn_id(linear)
    assert control("drop", connection=mine, code=1012, reason="restart") == {"connections": [mine]}
    assert ended(linear).args == (1012, "restart")


def test_abort_sends_no_close_frame(linear: Any, control: Control):
    control("abort", connection=conn_id(linear))
    assert isinstance(ended(linear), websocket.WebSocketConnectionClosedException)


def test_reset_resets(linear: Any, control: Control):
    control("reset", connection=conn_id(linear))
    assert isinstance(ended(linear), ConnectionResetError)


def test_a_muted_topic_leaves_the_others_and_the_pongs(linear: Any, control: Control):
    holding(linear, BOOK)
    linear.subscribe("tickers.BTCUSDT")
    linear.topic("tickers.BTCUSDT")
    control("faults", kind="mute", connection=conn_id(linear), topic=BOOK)
    seen = [linear.topic("tickers.BTCUSDT") for _ in range(2)]
    after = linear.until(lambda m: m.get("topic") == "tickers.BTCUSDT" and m["ts"] > seen[-1]["ts"])
    assert BOOK not in {message.get("topic") for message in after}
    assert linear.ask({"op": "ping"})["ret_msg"] == "pong"


def test_a_muted_connection_still_answers(linear: Any, control: Control):
    mine = conn_id(linear)
    control("faults", kind="mute", connection=mine)
    linear.subscribe(BOOK)
    assert linear.read()["op"] == "subscribe"
    assert linear.ask({"op": "ping"})["ret_msg"] == "pong"


@pytest.mark.parametrize("kind", ["mute_pongs", "silence"])
def test_pongs_stay_away(linear: Any, control: Control, kind: str):
    control("faults", kind=kind, connection=conn_id(linear), count=1)
    linear.send({"op": "ping", "req_id": "lost"})
    assert linear.ask({"op": "ping", "req_id": "found"})["req_id"] == "found"


def test_a_refused_topic_is_refused_in_the_words_of_the_endpoint(linear: Any, private: Any, control: Control):
    control("faults", kind="refuse_topic", topic=BOOK, count=1)
    linear.subscribe(BOOK, req_id="1")
    assert linear.reply()["ret_msg"] == f"error:handler not found,topic:{BOOK}"
    holding(linear, BOOK)
    control("faults", kind="refuse_topic", endpoint="private", topic="wallet")
    private.subscribe("wallet")
    assert "conflict:[wallet]" in private.reply()["ret_msg"]


def test_acks_get_lost_or_late(linear: Any, control: Control):
    control("faults", kind="lost_ack", connection=conn_id(linear))
    linear.subscribe(BOOK, req_id="lost")
    linear.topic(BOOK)
    control("faults", kind="late_ack", connection=conn_id(linear), delay_s=0.2)
    linear.subscribe("tickers.BTCUSDT", req_id="late")
    linear.send({"op": "ping", "req_id": "sooner"})
    assert [linear.reply()["req_id"] for _ in range(2)] == ["sooner", "late"]


@pytest.mark.parametrize("close", [False, True])
def test_signing_in_is_refused(simulator, open_socket: Opener, control: Control, close: bool):
    control("faults", kind="refuse_auth", message="API key is invalid.", close=close, count=1)
    peer = open_socket(simulator.ws_url + "/v5/private")
    reply = peer.ask(sign_in())
    assert (reply["success"], reply["ret_msg"]) == (False, "API key is invalid.")
    if close:
        assert ended(peer).args[0] == 1000
    else:
        assert peer.ask(sign_in())["success"] is True


@pytest.mark.parametrize("topic", [BOOK, "orderbook.200.BTCUSDT"])
def test_u_jumps_when_an_update_is_lost(linear: Any, control: Control, topic: str):
    linear.subscribe(topic)
    u = linear.topic(topic)["data"]["u"]
    control("faults", kind="lose_update", connection=conn_id(linear), topic=topic)
    while (after := linear.topic(topic)["data"]["u"]) == u + 1:
        u = after
    assert after == u + 2
    assert linear.topic(topic)["data"]["u"] == after + 1


@pytest.mark.parametrize("topic", [BOOK, "orderbook.200.BTCUSDT", "orderbook.50.XRPUSDT"])
def test_a_book_begins_again_with_u_1(linear: Any, control: Control, topic: str):
    holding(linear, topic)
    control("restart-book", topic=topic)
    restarted = linear.until(lambda message: message.get("data", {}).get("u") == 1)[-1]
    assert restarted["type"] == "snapshot"
    assert [linear.topic(topic)["data"]["u"] for _ in range(3)] == [2, 3, 4]


def test_twins_are_pushed_twice(linear: Any, control: Control):
    control("faults", kind="duplicate", connection=conn_id(linear), topic=BOOK)
    linear.subscribe(BOOK)
    assert linear.topic(BOOK) == linear.topic(BOOK)


def test_private_messages_change_places(private: Any, control: Control):
    control("faults", kind="reorder", connection=conn_id(private), topic="execution")
    private.subscribe("execution", "wallet")
    private.reply()
    *_, wallet, execution = private.until(lambda message: message.get("topic") == "execution")
    assert wallet["topic"] == "wallet"
    assert wallet["creationTime"] == execution["creationTime"] + 3


@pytest.mark.parametrize("form", ["not_json", "truncated", "empty", "array", "huge", "deep", "nan", "unknown_topic"])
def test_garbage_comes_before_the_frame(linear: Any, control: Control, form: str):
    control("faults", kind="garbage", form=form, connection=conn_id(linear), topic=BOOK, bytes=1_500_000)
    linear.subscribe(BOOK)
    spoilt, whole = linear.text(), linear.text()
    assert json.loads(whole)["topic"] == BOOK
    assert spoilt != whole
    assert (len(spoilt) > 1_500_000) == (form == "huge")


def test_bytes_that_are_no_text(linear: Any, control: Control):
    for form, expected in (("binary", websocket.ABNF.OPCODE_BINARY), ("invalid_utf8", websocket.ABNF.OPCODE_TEXT)):
        control("faults", kind="garbage", form=form, connection=conn_id(linear), topic=BOOK)
        linear.socket.frame_buffer.skip_utf8_validation = linear.socket.cont_frame.skip_utf8_validation = True
        linear.send({"op": "subscribe", "args": [BOOK]})
        opcode, payload = linear.socket.recv_data()
        assert opcode == expected
        with pytest.raises(UnicodeDecodeError):
            payload.decode()
        linear.ask({"op": "unsubscribe", "args": [BOOK]})
        linear.reply()


@pytest.mark.parametrize("form", ["missing_ts", "unknown_fields"])
def test_frames_in_another_guise(linear: Any, control: Control, form: str):
    control("faults", kind="garbage", form=form, connection=conn_id(linear), topic=BOOK)
    linear.subscribe(BOOK)
    first, second = linear.topic(BOOK), linear.topic(BOOK)
    assert ("ts" not in first) if form == "missing_ts" else ("newField" in first)
    assert second["data"]["u"] == first["data"]["u"] + 1


def test_a_stale_snapshot_is_followed_by_what_happened_since(linear: Any, control: Control):
    control("faults", kind="stale_snapshot", topic="orderbook.200.BTCUSDT", age_s=0.7)
    linear.subscribe("orderbook.200.BTCUSDT")
    snapshot, *behind = linear.until(lambda m: "topic" not in m) + [linear.read() for _ in range(4)]
    assert snapshot["type"] == "snapshot"
    assert [m["data"]["u"] - snapshot["data"]["u"] for m in behind if "topic" in m] == [1, 2, 3, 4]


def test_a_slow_frame_arrives_whole(linear: Any, control: Control):
    control("faults", kind="slow", connection=conn_id(linear), topic=BOOK, pieces=5, pause_s=0.02)
    linear.subscribe(BOOK)
    assert linear.topic(BOOK)["type"] == "snapshot"
    assert linear.topic(BOOK)["type"] == "delta"


def test_a_stalled_frame_never_does(linear: Any, control: Control):
    control("faults", kind="stall", connection=conn_id(linear), topic=BOOK)
    linear.subscribe(BOOK)
    linear.socket.settimeout(0.5)
    with pytest.raises(websocket.WebSocketTimeoutException):
        linear.read()


@pytest.mark.parametrize("status", [403, 429, 502, 503])
def test_handshakes_are_refused(simulator, open_socket: Opener, control: Control, status: int):
    control("faults", kind="handshake", endpoint="spot", form=str(status), retry_after_s=7)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        open_socket(simulator.ws_url + "/v5/public/spot")
    assert refused.value.status_code == status
    assert (refused.value.resp_headers or {}).get("retry-after") == ("7" if status == 429 else None)
    open_socket(simulator.ws_url + "/v5/public/spot")


@pytest.mark.parametrize(("form", "heard"), [("drip", True), ("hang", False)])
def test_handshakes_that_take_for_ever(simulator, control: Control, form: str, heard: bool):
    control("faults", kind="handshake", form=form, pause_s=0.05)
    head = b"GET /v5/public/spot HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=0.3) as raw:
        raw.sendall(head + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        if heard:
            assert raw.recv(100) == b"H"
        else:
            with pytest.raises(TimeoutError):
                raw.recv(100)


def test_maintenance_closes_all_connections_and_accepts_none(
    simulator, linear: Any, open_socket: Opener, control: Control
):
    control("maintenance", seconds=60)
    assert isinstance(ended(linear), websocket.WebSocketConnectionClosedException)
    with pytest.raises(websocket.WebSocketBadStatusException):
        open_socket(simulator.ws_url + "/v5/public/linear")
    assert simulator.get("/v5/market/time")["retCode"] == 10016
    requests.delete(f"{simulator.rest_url}/control/faults", timeout=WITHIN_S)
    open_socket(simulator.ws_url + "/v5/public/linear")


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("http", lambda answer: answer.status_code == 429 and answer.headers["Retry-After"] == "5"),
        ("error", lambda answer: answer.json()["retCode"] == 10006),
        ("empty", lambda answer: answer.json()["result"] == {"list": []}),
        ("garbage", lambda answer: answer.text.startswith("<html>")),
    ],
)
def test_rest_fails(simulator, control: Control, form: str, shown: Callable[[requests.Response], bool]):
    url = f"{simulator.rest_url}/v5/market/instruments-info?category=spot&symbol=BTCUSDT"
    control("faults", kind="rest", path="/v5/market/instruments-info", form=form, status=429, code=10006)
    assert simulator.get("/v5/market/time")["retCode"] == 0
    assert shown(requests.get(url, timeout=WITHIN_S))
    assert requests.get(url, timeout=WITHIN_S).json()["result"]["list"]


@pytest.mark.parametrize("fields", [{"form": "slow", "delay_s": 2}, {"form": "hang"}])
def test_rest_keeps_one_waiting(simulator, control: Control, fields: dict[str, Any]):
    control("faults", kind="rest", **fields)
    with pytest.raises(requests.ReadTimeout):
        requests.get(simulator.rest_url + "/v5/market/time", timeout=0.2)


def test_the_wallet_lags_behind_the_socket(simulator, private: Any, control: Control):
    private.subscribe("wallet")
    private.reply()
    control("wallet", coin="LAG", walletBalance="1")
    private.until(lambda m: m.get("topic") == "wallet" and m["data"][0]["coin"][0]["coin"] == "LAG")
    control("faults", kind="lagging_wallet", lag_s=600)
    control("wallet", coin="LAG", walletBalance="2")
    query = "accountType=UNIFIED&coin=LAG"
    lagging = signed(simulator, WALLET, query)["result"]["list"][0]["coin"][0]["walletBalance"]
    requests.delete(f"{simulator.rest_url}/control/faults", timeout=WITHIN_S)
    assert lagging in ("0", "1")
    assert signed(simulator, WALLET, query)["result"]["list"][0]["coin"][0]["walletBalance"] == "2"


def test_a_set_wallet_is_pushed_and_kept(simulator, private: Any, control: Control):
    private.subscribe("wallet")
    private.reply()
    control("wallet", coin="XRP", walletBalance="-12.5", totalOrderIM="", collateralSwitch=False)
    wallets = private.until(lambda m: "XRP" in [c["coin"] for c in m.get("data", [{}])[0].get("coin", [])])
    coin = wallets[-1]["data"][0]["coin"][0]
    assert (coin["walletBalance"], coin["totalOrderIM"], coin["collateralSwitch"]) == ("-12.5", "", False)
    answer = signed(simulator, WALLET, "accountType=UNIFIED&coin=XRP")
    assert answer["result"]["list"][0]["coin"][0]["walletBalance"] == "-12.5"


def test_the_clock_goes_wrong(simulator, private: Any, control: Control):
    control("clock", skew_ms=60_000)
    assert simulator.get("/v5/market/time")["time"] > time.time() * 1000 + 50_000
    assert signed(simulator, WALLET, "accountType=UNIFIED")["retCode"] == 10002
    assert private.ask(sign_in())["ret_msg"] == "Params Error"
    requests.delete(f"{simulator.rest_url}/control/faults", timeout=WITHIN_S)
    assert signed(simulator, WALLET, "accountType=UNIFIED")["retCode"] == 0


def test_frames_of_ones_own(linear: Any, private: Any, control: Control):
    mine = conn_id(linear)
    linear.subscribe("allLiquidation.BTCUSDT")
    linear.reply()
    result = control("inject", topic="allLiquidation.BTCUSDT", text='{"topic": "allLiquidation.BTCUSDT",  "mine":1}')
    assert result == {"connections": [mine]}
    assert linear.until(lambda message: message.get("mine"))[-1]["topic"] == "allLiquidation.BTCUSDT"
    control("inject", connection=conn_id(private), frame={"topic": "order", "mine": [1]})
    assert private.until(lambda message: message.get("mine"))[-1] == {"topic": "order", "mine": [1]}


def test_faults_are_listed_and_taken_back(simulator, control: Control):
    first = control("faults", kind="mute", endpoint="linear", topic=BOOK, seconds=60)
    control("faults", kind="lost_ack")
    listed = simulator.get("/control/faults")["faults"]
    assert [(fault["kind"], fault["count"]) for fault in listed] == [("mute", None), ("lost_ack", 1)]
    url = f"{simulator.rest_url}/control/faults/{first['id']}"
    assert requests.delete(url, timeout=WITHIN_S).status_code == 200
    assert requests.delete(url, timeout=WITHIN_S).status_code == 404
    requests.delete(f"{simulator.rest_url}/control/faults", timeout=WITHIN_S)
    assert simulator.get("/control/faults") == {"faults": []}


@pytest.mark.parametrize(
    ("name", "fields", "field"),
    [
        ("faults", {"kind": "mutiny"}, "kind"),
        ("faults", {}, "kind"),
        ("faults", {"kind": "mute", "endpoint": "moon"}, "endpoint"),
        ("faults", {"kind": "mute", "connection": "nobody"}, "connection"),
        ("faults", {"kind": "mute", "count": 0}, "count"),
        ("faults", {"kind": "mute", "seconds": "5"}, "seconds"),
        ("faults", {"kind": "mute", "path": "/v5"}, "path"),
        ("faults", {"kind": "garbage", "form": "nice"}, "form"),
        ("faults", {"kind": "handshake"}, "form"),
        ("drop", {"code": 99}, "code"),
        ("drop", {"connection": 5}, "connection"),
        ("clock", {"skew_ms": 1.5}, "skew_ms"),
        ("inject", {"topic": BOOK}, "text"),
        ("inject", {"base64": "%"}, "base64"),
        ("wallet", {"coin": "BTC", "walletBalance": "much"}, "walletBalance"),
        ("wallet", {"coin": "BTC", "walletBalance": "NaN"}, "walletBalance"),
        ("wallet", {"coin": "BTC", "wings": "2"}, "wings"),
        ("wallet", {}, "coin"),
        ("restart-book", {"topic": "tickers.BTCUSDT"}, "topic"),
        ("maintenance", {"seconds": -1}, "seconds"),
    ],
)
def test_bad_input_is_named(simulator, name: str, fields: dict[str, Any], field: str):
    answer = requests.post(f"{simulator.rest_url}/control/{name}", json=fields, timeout=WITHIN_S)
    assert answer.status_code == 400
    body = answer.json()
    assert (body["field"], body["value"]) == (field, fields.get(field, body["value"]))
    assert body["allowed"] in body["error"]


def test_what_is_no_json_is_bad_input_too(simulator):
    answer = requests.post(f"{simulator.rest_url}/control/faults", data="{", timeout=WITHIN_S)
    assert (answer.status_code, answer.json()["field"]) == (400, "body")
    assert json.loads(answer.text)["value"] == "{"
