"""Subscribing to topics and ending subscriptions."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from api.app import create
from api.settings import Settings
from common.tables import subscriptions
from common.tables.subscriptions import Caps
from tests.contract.api.conftest import ADMINISTRATOR_KEY, PATH, TRADES, Ingestor, Notifications, asking, body, code
from tests.kit.waiting import eventually


def test_a_first_subscription_is_stored_and_notified_to_the_ingestor(client: FlaskClient, notifications: Notifications):
    answer = client.post(PATH, json=TRADES, headers={"X-Request-ID": "abc"})
    assert answer.status_code == 201, answer.text
    assert body(answer)["status"] == "pending"
    assert body(answer)["queue"] == "ws-gateway.trades.model"
    assert body(answer)["routing_key"] == "trades.linear.BTCUSDT"
    assert answer.headers["Location"] == f"{PATH}/{body(answer)['id']}"
    assert answer.headers["X-Request-ID"] == "abc"
    assert [notification.trace_id for notification in notifications] == ["abc"]


def test_subscribing_again_answers_with_the_same_row(client: FlaskClient, notifications: Notifications):
    first, again = (client.post(PATH, json=TRADES) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert len(notifications) == 1


def test_parts_and_topic_name_the_same_subscription(client: FlaskClient):
    book = {"channel_type": "orderbook", "symbol": "BTCUSDT", "requesting_service": "model"}
    by_parts = body(client.post(PATH, json=book))
    by_topic = client.post(PATH, json={"topic": "orderbook.50.BTCUSDT", "requesting_service": "model"})
    assert by_topic.status_code == 200
    assert body(by_topic)["id"] == by_parts["id"]


def test_fifty_at_once_make_one_row(client: FlaskClient, engine: Engine):
    def ask(_: int) -> tuple[int, str]:
        answer = client.application.test_client().post(PATH, json=TRADES, headers={"X-API-Key": ADMINISTRATOR_KEY})
        return answer.status_code, body(answer)["id"]

    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(ask, range(50)))
    assert sorted(status for status, _ in answers) == [200] * 49 + [201]
    assert len({found for _, found in answers}) == 1


def test_an_ended_subscription_can_be_ended_again(client: FlaskClient, notifications: Notifications):
    requested = body(client.post(PATH, json=TRADES))
    ended = body(client.delete(f"{PATH}/{requested['id']}"))
    assert (ended["is_active"], ended["status"]) == (False, "cancelled")
    assert body(client.delete(f"{PATH}/{requested['id']}")) == ended
    assert len(notifications) == 2
    assert body(client.post(PATH, json=TRADES))["id"] != requested["id"]


def test_all_of_a_service_end_together(client: FlaskClient):
    for symbol in ("BTCUSDT", "ETHUSDT"):
        client.post(PATH, json=TRADES | {"symbol": symbol})
    other = body(client.post(PATH, json=TRADES | {"requesting_service": "other"}))
    ended = body(client.delete(f"{PATH}/by-service/model"))
    assert [item["symbol"] for item in ended["items"]] == ["BTCUSDT", "ETHUSDT"]
    assert ended["total"] == 2
    assert [item["id"] for item in body(client.get(f"{PATH}?is_active=true"))["items"]] == [other["id"]]


def test_the_list_is_filtered_counted_and_paged(client: FlaskClient, ingestor: Ingestor):
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        client.post(PATH, json=TRADES | {"symbol": symbol})
    client.post(PATH, json={"channel_type": "balance", "requesting_service": "model"})
    ingestor.leads()
    ingestor.holds("publicTrade.ETHUSDT")
    page = body(client.get(f"{PATH}?category=linear&limit=2&offset=1"))
    assert [item["symbol"] for item in page["items"]] == ["ETHUSDT", "SOLUSDT"]
    assert (page["total"], page["limit"], page["offset"]) == (3, 2, 1)
    assert [item["symbol"] for item in body(client.get(f"{PATH}?status=live"))["items"]] == ["ETHUSDT"]
    assert body(client.get(f"{PATH}?status=pending"))["total"] == 3
    assert body(client.get(f"{PATH}?channel_type=balance"))["total"] == 1
    assert body(client.get(f"{PATH}?requesting_service=unknown"))["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=1_0",
        "offset=-1",
        "offset=1000000001",
        "offset=99999999999999999999",
        "is_active=yes",
        "status=dead",
        "colour=red",
        "limit=1&limit=2",
    ],
)
def test_an_invalid_query_is_rejected(client: FlaskClient, query: str):
    assert client.get(f"{PATH}?{query}").status_code == 422


def test_all_faults_are_named_at_once(client: FlaskClient, ingestor: Ingestor):
    ingestor.lists("linear", "BTCUSDT")
    wrong = {"channel_type": "trades", "symbol": "BTCUSD", "requesting_service": "No!", "ttl_seconds": 0, "x": 1}
    answer = client.post(PATH, json=wrong)
    assert code(answer) == (422, "several_faults")
    assert answer.json is not None
    assert {fault["field"]: fault["code"] for fault in answer.json["errors"]} == {
        "symbol": "unknown_symbol",
        "requesting_service": "bad_service_name",
        "ttl_seconds": "out_of_range",
        "x": "unknown_field",
    }
    assert body(client.get(PATH))["total"] == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"channel_type": "nonsense"}, "unknown_channel_type"),
        ({"symbol": None}, "missing_symbol"),
        ({"symbol": 7}, "wrong_type"),
        ({"symbol": "BTC USDT"}, "bad_symbol"),
        ({"category": "option", "channel_type": "kline", "symbol": "BTC"}, "bad_category"),
        ({"channel_type": "orderbook", "depth": 51}, "bad_depth"),
        ({"channel_type": "kline", "interval": "2"}, "bad_interval"),
        ({"depth": 50}, "unexpected_field"),
        ({"topic": "publicTrade.ETHUSDT"}, "conflict"),
        ({"requesting_service": "persister"}, "reserved_service_name"),
        ({"requesting_service": "model\n"}, "bad_service_name"),
        ({"channel_type": None, "symbol": None, "topic": "dcp.future"}, "refused_topic"),
        ({"channel_type": None, "symbol": None, "topic": "order.linear", "category": "private"}, "categorised_topic"),
        ({"symbol": "é" * 60}, "key_too_long"),
    ],
)
def test_each_cause_has_its_code(client: FlaskClient, given: dict[str, object], expected: str):
    assert code(client.post(PATH, json=TRADES | given)) == (422, expected)


def test_a_misspelt_symbol_is_answered_with_the_similar_one(client: FlaskClient, ingestor: Ingestor):
    ingestor.lists("linear", "BTCUSDT", "ETHUSDT")
    answer = client.post(PATH, json=TRADES | {"symbol": "BTCUSD"})
    assert code(answer) == (422, "unknown_symbol")
    assert answer.json is not None
    assert answer.json["errors"][0]["message"] == "BTCUSD is not listed in linear; did you mean BTCUSDT?"


@pytest.mark.parametrize("status", ["PendingOpen", "PreLaunch"])
def test_a_symbol_that_is_listed_but_does_not_trade_yet_is_accepted(
    client: FlaskClient, ingestor: Ingestor, status: str
):
    ingestor.lists("linear", "BTCUSDT")
    ingestor.lists("linear", "NEWUSDT", status=status)
    answer = client.post(PATH, json=TRADES | {"symbol": "NEWUSDT"})
    assert (answer.status_code, body(answer)["status"]) == (201, "pending")


def test_a_category_that_was_never_looked_up_rejects_nothing(client: FlaskClient, ingestor: Ingestor):
    ingestor.lists("spot", "ETHUSDT")
    assert body(client.post(PATH, json=TRADES))["status"] == "pending"


def test_option_trades_go_by_the_base_coin(client: FlaskClient, ingestor: Ingestor):
    ingestor.lists("option", "BTC-27NOV26-100000-C-USDT")
    subscription = TRADES | {"category": "option"}
    assert client.post(PATH, json=subscription | {"symbol": "BTC"}).status_code == 201
    assert code(client.post(PATH, json=subscription | {"symbol": "BTC-27NOV26-100000-C-USDT"})) == (
        422,
        "unknown_symbol",
    )


def test_a_lease_is_renewed_by_subscribing_again_and_expires_without(
    client: FlaskClient, engine: Engine, ingestor: Ingestor
):
    first = body(client.post(PATH, json=TRADES | {"ttl_seconds": 60}))
    again = body(client.post(PATH, json=TRADES | {"ttl_seconds": 120}))
    assert again["id"] == first["id"]
    assert again["expires_at"] > first["expires_at"]
    ingestor.execute("UPDATE subscriptions SET expires_at = now()")
    with engine.begin() as connection:
        assert len(subscriptions.expire(connection)) == 1
    assert body(client.get(f"{PATH}/{first['id']}"))["status"] == "expired"


def test_subscribing_without_a_lease_makes_it_permanent(client: FlaskClient):
    client.post(PATH, json=TRADES | {"ttl_seconds": 60})
    assert body(client.post(PATH, json=TRADES))["expires_at"] is None


def test_the_status_follows_the_reports_of_the_ingestor(client: FlaskClient, ingestor: Ingestor):
    requested = body(client.post(PATH, json=TRADES))
    assert requested["reason"] == "no ingestor is running"

    def becomes(status: str, reason: str) -> bool:
        """The reason, a pattern, may be a moment old."""

        def found() -> bool:
            shown = body(client.get(f"{PATH}/{requested['id']}"))
            return shown["status"] == status and re.fullmatch(reason, str(shown["reason"])) is not None

        return eventually(found, 5, f"{status}: {reason}")

    ingestor.leads(generation=0)
    assert becomes("pending", "waiting for the ingestor")
    ingestor.connected()
    ingestor.holds("publicTrade.BTCUSDT", "pending")
    assert becomes("pending", "the exchange has not acknowledged publicTrade.BTCUSDT yet")
    ingestor.holds("publicTrade.BTCUSDT")
    assert becomes("pending", "the queue is not bound yet")
    ingestor.leads()
    assert becomes("live", "None")
    ingestor.leads(age_s=60)
    assert becomes("pending", r"the last heartbeat of the ingestor is 6\d s old")
    ingestor.leads()
    ingestor.holds("publicTrade.BTCUSDT", "rejected", "Invalid symbol")
    assert becomes("rejected", "Invalid symbol")


def test_the_report_of_an_earlier_ingestor_does_not_count(client: FlaskClient, ingestor: Ingestor):
    requested = body(client.post(PATH, json=TRADES))
    ingestor.leads(epoch="E1", age_s=30)
    ingestor.holds("publicTrade.BTCUSDT")
    ingestor.leads(epoch="E2")
    assert body(client.get(f"{PATH}/{requested['id']}"))["status"] == "pending"


def test_waiting_answers_with_the_status_of_the_exchange(client: FlaskClient, ingestor: Ingestor):
    ingestor.leads()
    ingestor.holds("publicTrade.BTCUSDT", "rejected", "Invalid symbol")
    answer = client.post(PATH, json=TRADES, headers={"Prefer": "wait=10"})
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert (body(answer)["status"], body(answer)["reason"]) == ("rejected", "Invalid symbol")


def test_waiting_ends_at_the_deadline(client: FlaskClient):
    answer = client.post(PATH, json=TRADES, headers={"Prefer": "respond-async, wait=1"})
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert body(answer)["status"] == "pending"


def test_a_database_that_goes_while_it_waits_does_not_hide_that_the_subscription_is_stored(
    client: FlaskClient, notifications: Notifications, engine: Engine
):
    with ThreadPoolExecutor(1) as pool, engine.connect() as other:
        requested = pool.submit(client.post, PATH, json=TRADES, headers={"Prefer": "wait=10"})
        eventually(lambda: notifications, 5, "the subscription is stored")
        other.execute(text("LOCK TABLE subscriptions IN ACCESS EXCLUSIVE MODE"))
        assert requested.result(10).status_code == 201
        other.rollback()
    assert client.get(requested.result().headers["Location"]).status_code == 200


@pytest.fixture
def capped(settings: Settings, engine: Engine) -> Callable[[int, int], FlaskClient]:
    def made(of_a_service: int, in_total: int) -> FlaskClient:
        few = replace(settings, caps=Caps(of_a_service, in_total))
        return asking(create(few, engine, Notifications()).test_client(), ADMINISTRATOR_KEY)

    return made


def test_caps_hold_against_a_crowd(capped: Callable[[int, int], FlaskClient], engine: Engine):
    client = capped(100, 7)

    def ask(number: int) -> int:
        subscription = {"topic": f"publicTrade.S{number}", "requesting_service": f"s{number % 3}"}
        headers = {"X-API-Key": ADMINISTRATOR_KEY}
        return client.application.test_client().post(PATH, json=subscription, headers=headers).status_code

    with ThreadPoolExecutor(8) as crowd:
        assert sorted(crowd.map(ask, range(30))) == [201] * 7 + [422] * 23
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM subscriptions WHERE is_active")).scalar_one() == 7


def test_a_cap_is_named_and_leaves_what_is_held(capped: Callable[[int, int], FlaskClient]):
    client = capped(1, 100)
    assert client.post(PATH, json=TRADES).status_code == 201
    assert code(client.post(PATH, json=TRADES | {"symbol": "ETHUSDT"})) == (422, "service_cap")
    assert client.post(PATH, json=TRADES).status_code == 200
    assert client.post(PATH, json=TRADES | {"requesting_service": "other"}).status_code == 201


def test_ending_makes_room(capped: Callable[[int, int], FlaskClient]):
    client = capped(2, 2)
    held = [body(client.post(PATH, json=TRADES | {"symbol": symbol}))["id"] for symbol in ("A", "B")]
    assert code(client.post(PATH, json=TRADES | {"requesting_service": "other"})) == (422, "total_cap")
    client.delete(f"{PATH}/{held[0]}")
    assert client.post(PATH, json=TRADES | {"requesting_service": "other"}).status_code == 201
