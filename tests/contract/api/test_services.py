"""All subscriptions of a service at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import Engine

from tests.contract.api.conftest import ADMINISTRATOR_KEY, PATH, TRADES, Ingestor, Notifications, asking, body, code

WHOLE = "/api/v1/services/model/subscriptions"


def put(client: FlaskClient, *symbols: str, **more: Any) -> Any:
    return client.put(WHOLE, json={"subscriptions": [subscription(symbol) for symbol in symbols]} | more)


def subscription(symbol: str) -> dict[str, str]:
    return {"channel_type": "trades", "symbol": symbol}


def symbols(items: list[dict[str, str]]) -> list[str]:
    return sorted(item["symbol"] for item in items)


def test_a_list_replaces_the_subscriptions(client: FlaskClient, notifications: Notifications):
    put(client, "A", "B")
    answer = body(put(client, "B", "C"))
    assert {what: symbols(items) for what, items in answer.items()} == {"added": ["C"], "kept": ["B"], "removed": ["A"]}
    assert symbols(body(client.get(f"{PATH}?is_active=true"))["items"]) == ["B", "C"]
    assert len(notifications) == 2


def test_the_same_list_again_changes_nothing(client: FlaskClient, notifications: Notifications):
    put(client, "A", "B")
    answer = body(put(client, "B", "A", "A"))
    assert (answer["added"], answer["removed"], symbols(answer["kept"])) == ([], [], ["A", "B"])
    assert len(notifications) == 1


def test_an_empty_list_ends_everything_of_this_service_only(client: FlaskClient):
    client.post(PATH, json=TRADES | {"requesting_service": "other"})
    put(client, "A")
    assert symbols(body(put(client))["removed"]) == ["A"]
    assert body(client.get(f"{PATH}?is_active=true"))["total"] == 1


def test_one_fault_and_nothing_is_changed(client: FlaskClient, ingestor: Ingestor):
    ingestor.lists("linear", "A", "B")
    put(client, "A")
    answer = client.put(
        WHOLE, json={"subscriptions": [subscription("B"), subscription("Z"), {"channel_type": "kline"}, 7, {"x": 1}]}
    )
    assert answer.status_code == 422
    assert answer.json is not None
    assert {fault["field"]: fault["code"] for fault in answer.json["errors"]} == {
        "subscriptions.1.symbol": "unknown_symbol",
        "subscriptions.2.symbol": "missing_symbol",
        "subscriptions.3.body": "wrong_type",
        "subscriptions.4.x": "unknown_field",
        "subscriptions.4.channel_type": "missing_field",
    }
    assert symbols(body(client.get(f"{PATH}?is_active=true"))["items"]) == ["A"]


def test_the_lease_is_of_the_whole_list(client: FlaskClient):
    put(client, "A")
    leased = body(put(client, "A", "B", ttl_seconds=60))
    assert leased["kept"][0]["expires_at"]
    assert leased["added"][0]["expires_at"]
    assert body(put(client, "A", "B"))["kept"][0]["expires_at"] is None


def test_an_invalid_service_name_is_rejected(client: FlaskClient):
    for name, expected in (("No!", "bad_service_name"), ("persister", "reserved_service_name")):
        answer = client.put(f"/api/v1/services/{name}/subscriptions", json={"subscriptions": []})
        assert code(answer) == (422, expected)


def test_a_body_that_is_not_a_list_is_rejected(client: FlaskClient):
    assert code(client.put(WHOLE, json={"subscriptions": "A"})) == (422, "wrong_type")
    assert code(client.put(WHOLE, json={})) == (422, "missing_field")
    assert code(client.put(WHOLE, json=[])) == (422, "wrong_type")


def test_subscribing_replacing_and_ending_at_once_all_succeed(client: FlaskClient, engine: Engine):
    """A lease makes each request change the row, which another one may have ended meanwhile."""
    desired = {"subscriptions": [{"topic": "publicTrade.BTCUSDT"}], "ttl_seconds": 60}

    def ask(number: int) -> int:
        mine = asking(client.application.test_client(), ADMINISTRATOR_KEY)
        if number % 3 == 0:
            return mine.post(PATH, json=TRADES | {"ttl_seconds": 60}).status_code
        if number % 3 == 1:
            return mine.put(WHOLE, json=desired).status_code
        return mine.delete(f"{PATH}/by-service/model").status_code

    with ThreadPoolExecutor(12) as crowd:
        assert set(crowd.map(ask, range(240))) <= {200, 201}
    with engine.connect() as connection:
        counted = "SELECT count(*) FROM subscriptions WHERE is_active"
        assert connection.exec_driver_sql(counted).scalar_one() <= 1
