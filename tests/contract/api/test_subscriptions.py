"""Asking for topics and ending it."""

from flask.testing import FlaskClient

from tests.contract.api.conftest import Pokes

PATH = "/api/v1/subscriptions"
TRADES = {"channel_type": "trades", "symbol": "BTCUSDT", "requesting_service": "model"}


def test_a_first_wish_is_stored_and_told_to_the_ingestor(client: FlaskClient, pokes: Pokes) -> None:
    answer = client.post(PATH, json=TRADES, headers={"X-Request-ID": "abc"})
    assert answer.status_code == 201, answer.text
    assert answer.json is not None
    assert answer.json["status"] == "pending"
    assert answer.json["queue"] == "ws-gateway.trades.model"
    assert answer.headers["X-Request-ID"] == "abc"
    assert [poke.trace_id for poke in pokes] == ["abc"]


def test_asking_again_answers_with_the_same_row(client: FlaskClient, pokes: Pokes) -> None:
    first, again = (client.post(PATH, json=TRADES) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert len(pokes) == 1
