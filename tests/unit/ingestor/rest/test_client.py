"""What the client requests and how it reads the answers."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from common import settings
from common.channels import of_topic
from common.errors import Unavailable
from ingestor.rest.account import Account
from ingestor.rest.client import RestClient
from tests.kit.rest import Answer, Received, RestServer, refused, result
from tests.unit.ingestor.rest.conftest import NOW_MS

EXECUTION, ORDER = of_topic("private", "execution"), of_topic("private", "order")
TRADES, CANDLES = of_topic("linear", "publicTrade.BTCUSDT"), of_topic("linear", "kline.1.BTCUSDT")
FAR = float("inf")  # a deadline


def listing(*rows: Any, category: str = "linear", cursor: str = "") -> Answer:
    return result({"category": category, "list": list(rows), "nextPageCursor": cursor})


def per_category(received: Received) -> Answer:
    category = received.parameters["category"]
    return listing({"category": category}, category=category)


def execution(id: str, at_ms: int) -> dict[str, str]:
    return {"execId": id, "execTime": str(at_ms)}


def order(id: str, updated_ms: int) -> dict[str, str]:
    fields = {"orderId": id, "updatedTime": str(updated_ms), "orderStatus": "New", "cumExecQty": "0"}
    return fields | {"cancelType": "UNKNOWN"}


def test_the_clock_is_the_exchanges_time_in_milliseconds(server: RestServer, client: RestClient):
    server.answer = lambda _: result({"timeSecond": "1", "timeNano": "1700000000123456789"})
    exchange_ms, rtt_s = client.clock()
    assert exchange_ms == 1_700_000_000_123
    assert 0 < rtt_s < 5
    assert server.received[0].path == "/v5/market/time"


def test_the_headers_of_the_settings_are_sent(server: RestServer):
    bybit = settings.Bybit("simulator", None, "", server.url, headers=(("X-Access", "a"),))
    server.answer = lambda _: result({"timeNano": "1"})
    RestClient(bybit, Account(None), lambda: NOW_MS).clock()
    assert server.received[0].headers["X-Access"] == "a"


def test_the_wallet_is_what_was_answered_with_the_time_of_the_request(server: RestServer, client: RestClient):
    wallet = {"list": [{"accountType": "UNIFIED", "coin": [{"coin": "BTC", "walletBalance": "1.50"}]}]}
    server.answer = lambda _: result(wallet)
    snapshot = client.wallet()
    assert (orjson.loads(snapshot.result), snapshot.version_ms) == (wallet, NOW_MS)
    assert (server.received[0].path, server.received[0].query) == ("/v5/account/wallet-balance", "accountType=UNIFIED")


@pytest.mark.parametrize("answer", [{"list": []}, {}, {"list": [10**30]}])
def test_a_wallet_without_an_account_is_unavailable(server: RestServer, client: RestClient, answer: Any):
    server.answer = lambda _: result(answer)
    with pytest.raises(Unavailable):
        client.wallet()


def test_open_orders_are_one_snapshot_per_category(server: RestServer, client: RestClient):
    server.answer = per_category
    found = [orjson.loads(snapshot.result) for snapshot in client.open_orders()]
    assert [(each["category"], len(each["list"])) for each in found] == [
        ("linear", 2), ("spot", 1), ("inverse", 1), ("option", 1),
    ]  # fmt: skip
    assert {request.path for request in server.received} == {"/v5/order/realtime"}
    assert [request.parameters.get("settleCoin") for request in server.received[:3]] == ["USDT", "USDC", None]
    assert {(each.parameters["openOnly"], each.parameters["limit"]) for each in server.received} == {("0", "50")}


def test_positions_are_requested_without_spot(server: RestServer, client: RestClient):
    server.answer = per_category
    snapshots = client.positions()
    assert [orjson.loads(each.result)["category"] for each in snapshots] == ["linear", "inverse", "option"]
    assert {snapshot.version_ms for snapshot in snapshots} == {NOW_MS}
    assert {(request.path, request.parameters["limit"]) for request in server.received} == {
        ("/v5/position/list", "200")
    }


def test_all_pages_of_a_list_are_read(server: RestServer, client: RestClient):
    def page(received: Received) -> Answer:
        number = int(received.parameters.get("cursor", "0"))
        return listing(execution(f"e{number}", NOW_MS - number), cursor=str(number + 1) if number < 2 else "")

    server.answer = page
    found = client.history(EXECUTION, NOW_MS - 1000, NOW_MS, FAR)
    assert [element.key for element in found.elements if element.time_ms == NOW_MS] == ["e0"] * 4
    assert (found.answered, len(found.rows), found.healed) == (4, 12, "yes")


def test_a_list_without_an_end_is_unavailable(server: RestServer, client: RestClient):
    server.answer = lambda _: listing(cursor="more")
    with pytest.raises(Unavailable, match="more than 50 pages"):
        client.positions()
    assert len(server.received) == 50


@pytest.mark.parametrize(
    "answer", [{"list": []}, {"category": "linear"}, {"category": "linear", "list": {}}, [], "category"]
)
def test_a_list_of_another_shape_is_unavailable(server: RestServer, client: RestClient, answer: Any):
    server.answer = lambda _: result(answer)
    with pytest.raises(Unavailable):
        client.positions()


def test_every_instrument_is_listed_once_and_bad_rows_are_skipped(server: RestServer, client: RestClient):
    good = {"symbol": "A", "baseCoin": "B", "quoteCoin": "C", "status": "Trading"}
    server.answer = lambda _: listing(
        {**good, "symbol": 5}, {**good, "status": ""}, 7, good, good, {**good, "symbol": "Z"}
    )
    assert [instrument.symbol for instrument in client.instruments("linear")] == ["A", "Z"]
    assert [request.query for request in server.received] == [
        "category=linear&status=PreLaunch&limit=1000",
        "category=linear&status=PendingOpen&limit=1000",
        "category=linear&limit=1000",
    ]


def trading(symbol: str, status: str = "Trading") -> dict[str, str]:
    return {"symbol": symbol, "baseCoin": "B", "quoteCoin": "C", "status": status}


def test_a_symbol_that_does_not_trade_yet_is_listed(server: RestServer, client: RestClient):
    rows = {"PreLaunch": [], "PendingOpen": [trading("NEW", "PendingOpen")], "": [trading("OLD")]}
    server.answer = lambda received: listing(*rows[received.parameters.get("status", "")])
    found = {instrument.symbol: instrument.status for instrument in client.instruments("spot")}
    assert found == {"NEW": "PendingOpen", "OLD": "Trading"}


def test_a_symbol_that_opens_between_two_requests_is_listed_as_trading(server: RestServer, client: RestClient):
    server.answer = lambda received: listing(trading("NEW", received.parameters.get("status", "Trading")))
    assert [(each.symbol, each.status) for each in client.instruments("spot")] == [("NEW", "Trading")]


def test_a_status_that_a_category_does_not_have_hides_nothing(server: RestServer, client: RestClient):
    def answer(received: Received) -> Answer:
        return refused(10001, "status invalid") if "status" in received.parameters else listing(trading("OLD"))

    server.answer = answer
    assert [instrument.symbol for instrument in client.instruments("spot")] == ["OLD"]


@pytest.mark.parametrize(("status", "code"), [("PendingOpen", 10016), ("", 10001)])
def test_a_list_that_fails_otherwise_is_unavailable(server: RestServer, client: RestClient, status: str, code: int):
    """Half a list would remove symbols that are listed."""

    def answer(received: Received) -> Answer:
        failing = received.parameters.get("status", "") == status
        return refused(code, "no") if failing else listing(trading("OLD"))

    server.answer = answer
    with pytest.raises(Unavailable, match=f"retCode {code}"):
        client.instruments("spot")


def test_options_are_listed_coin_by_coin(server: RestServer, client: RestClient):
    server.answer = lambda _: listing(category="option")
    assert client.instruments("option") == []
    coins = [request.parameters["baseCoin"] for request in server.received if "status" not in request.parameters]
    assert coins == ["BTC", "ETH", "SOL", "XRP", "DOGE", "MNT"]


@pytest.mark.parametrize(
    ("expired_at", "expires_at"),
    [
        ("2027-01-02T03:04:05Z", datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2027-01-02T03:04:05", datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_the_expiry_of_the_key(server: RestServer, client: RestClient, expired_at: str | None, expires_at: Any):
    server.answer = lambda _: result({"expiredAt": expired_at, "permissions": {"Spot": ["SpotTrade"]}})
    found = client.key()
    assert (found.expires_at, found.permissions) == (expires_at, {"Spot": ["SpotTrade"]})
    assert server.received[0].path == "/v5/user/query-api"


def test_executions_are_requested_per_category_and_no_further_back_than_a_week(server: RestServer, client: RestClient):
    server.answer = lambda _: listing()
    earliest_ms = NOW_MS - 7 * 86_400_000 + 600_000
    for since_ms, start_ms, healed in ((NOW_MS - 5, NOW_MS - 5, "yes"), (0, earliest_ms, "in part")):
        server.received.clear()
        assert client.history(EXECUTION, since_ms, NOW_MS, FAR).healed == healed
        assert {int(request.parameters["startTime"]) for request in server.received} == {start_ms}
        assert [request.parameters["category"] for request in server.received] == [
            "linear", "spot", "inverse", "option",
        ]  # fmt: skip


def test_orders_are_open_and_closed_ones_that_changed_since(server: RestServer, client: RestClient):
    def answer(received: Received) -> Answer:
        if received.parameters["category"] != "spot":
            return listing()
        newer = 1 if received.parameters["openOnly"] == "1" else 0
        return listing(order(f"new{newer}", NOW_MS + newer), order("old", NOW_MS - 1), category="spot")

    server.answer = answer
    found = client.history(ORDER, NOW_MS, NOW_MS, FAR)
    assert [element.time_ms for element in found.elements] == [NOW_MS, NOW_MS + 1]
    assert [row["orderId"] for row in found.rows] == ["new1", "new0"], "newest first"
    assert len(server.received) == 10


@pytest.mark.parametrize(("oldest_ms", "healed"), [(NOW_MS - 1, "yes"), (NOW_MS, "yes"), (NOW_MS + 1, "in part")])
def test_trades_are_complete_when_they_reach_back_to_the_gap(
    server: RestServer, client: RestClient, oldest_ms: int, healed: str
):
    rows = [{"execId": str(number), "time": str(NOW_MS + 5)} for number in range(999)]
    server.answer = lambda _: listing(*rows, {"execId": "oldest", "time": str(oldest_ms)})
    found = client.history(TRADES, NOW_MS, NOW_MS, FAR)
    assert found.healed == healed
    assert ("oldest" in {element.key for element in found.elements}) == (oldest_ms >= NOW_MS)
    assert server.received[0].query == "category=linear&symbol=BTCUSDT&limit=1000"


@pytest.mark.parametrize(
    ("topic", "query"),
    [
        (("spot", "publicTrade.BTCUSDT"), "category=spot&symbol=BTCUSDT&limit=60"),
        (("option", "publicTrade.BTC"), "category=option&baseCoin=BTC&limit=1000"),
    ],
)
def test_trades_of_other_categories_are_requested_their_way(
    server: RestServer, client: RestClient, topic: tuple[str, str], query: str
):
    server.answer = lambda _: listing()
    client.history(of_topic(*topic), 0, NOW_MS, FAR)
    assert server.received[0].query == query


def test_closed_candles_are_read_and_a_full_page_may_lack_some(server: RestServer, client: RestClient):
    minute_ms, end_ms = 60_000, NOW_MS // 60_000 * 60_000
    for count, healed in ((3, "yes"), (1000, "in part")):
        rows = [[str(end_ms - number * minute_ms)] for number in range(count)]
        server.answer = lambda _, rows=rows: listing(*rows)  # type: ignore[misc]
        found = client.history(CANDLES, end_ms - minute_ms, end_ms, FAR)
        assert [element.time_ms for element in found.elements] == [end_ms - 2 * minute_ms, end_ms - minute_ms]
        assert found.healed == healed
    expected = f"category=linear&symbol=BTCUSDT&interval=1&start={end_ms - 2 * minute_ms}&limit=1000"
    assert server.received[0].query == expected


def test_a_category_that_fails_leaves_the_others(server: RestServer, client: RestClient):
    def answer(received: Received) -> Answer:
        if received.parameters["category"] == "spot":
            return refused(10016, "busy")
        return listing(execution(received.parameters["category"], NOW_MS))

    server.answer = answer
    found = client.history(EXECUTION, NOW_MS, NOW_MS, FAR)
    assert (found.healed, found.failures) == ("in part", ["spot: retCode 10016: busy"])
    assert {element.key for element in found.elements} == {"linear", "inverse", "option"}


def test_rows_that_cannot_be_parsed_recover_nothing(server: RestServer, client: RestClient):
    server.answer = lambda _: listing({"execId": "x"})
    found = client.history(EXECUTION, NOW_MS, NOW_MS, FAR)
    assert (found.healed, found.elements) == ("no", [])
    assert found.failures == ["rows that cannot be parsed: KeyError: 'execTime'"]


def test_after_the_deadline_nothing_is_requested(server: RestServer, client: RestClient):
    found = client.history(EXECUTION, NOW_MS, NOW_MS, until=0.0)
    assert (found.healed, server.received) == ("no", [])
    assert found.failures[0] == "linear: ValueError: no time left for the request"
