"""Reading balances over HTTP."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.kit import wallets
from tests.kit.wallets import T0_MS

PATH = "/api/v1/balances"
Write = Callable[..., None]


def got(client: FlaskClient, path: str, **query: Any) -> dict[str, Any]:
    answer = client.get(path, query_string=query)
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    found: dict[str, Any] = answer.json
    return found


def balance(amount: str, coin: str = "USDT", at_ms: int = T0_MS) -> bytes:
    held = wallets.account(wallets.coin(coin, walletBalance=amount))
    return wallets.live(wallets.frame(held, at_ms=at_ms), at_ms)


def amounts(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["coin"], item["wallet_balance"]) for item in found["items"]]


def test_nothing_known_yet_is_an_empty_answer(client: FlaskClient) -> None:
    assert got(client, PATH) == {"items": [], "accounts": [], "total": 0, "limit": 100, "offset": 0}
    assert got(client, f"{PATH}/history")["items"] == []


def test_it_needs_a_key(client: FlaskClient) -> None:
    del client.environ_base["HTTP_X_API_KEY"]
    assert client.get(PATH).status_code == 401


def test_a_real_frame_is_shown_to_the_last_digit(client: FlaskClient, write: Write) -> None:
    write(wallets.live(wallets.real("private.wallet.2026.jsonl")))
    found = got(client, PATH)
    [item], [account] = found["items"], found["accounts"]
    assert (item["coin"], item["wallet_balance"], item["accrued_interest"]) == ("USDC", "-0.0664735", "0.00000022")
    assert (item["available_to_withdraw"], item["collateral_switch"]) == (None, True)
    assert item["event_timestamp"] == "2026-03-29T10:15:51.206000Z"
    assert (account["account_type"], account["total_perp_upl"]) == ("UNIFIED", "-36.34620293")
    assert "raw" not in item


def test_amounts_of_any_size_are_plain_digits(client: FlaskClient, write: Write) -> None:
    long = "-1234567890123456789012345678901234567890.1234567890123456789012345678901234567890"
    write(balance(long, "LONG"), balance("1E-18", "SMALL", T0_MS + 1), balance("25e20", "LARGE", T0_MS + 2))
    assert amounts(got(client, PATH)) == [
        ("LARGE", "2500000000000000000000"),
        ("LONG", long),
        ("SMALL", "0.000000000000000001"),
    ]


def test_the_newest_by_the_exchanges_clock_is_shown_whatever_arrives_last(client: FlaskClient, write: Write) -> None:
    write(balance("2", at_ms=T0_MS + 1), balance("1", at_ms=T0_MS))
    write(balance("0.5", at_ms=T0_MS - 1))
    assert amounts(got(client, PATH)) == [("USDT", "2")]
    write(balance("3", at_ms=T0_MS + 1))
    assert amounts(got(client, PATH)) == [("USDT", "3")], "the later arrival of the same moment"


def test_coins_are_found_by_name_and_page_by_page(client: FlaskClient, write: Write) -> None:
    write(*(balance("1", name) for name in ("ADA", "BTC", "ETH")))
    assert amounts(got(client, PATH, coin="BTC")) == [("BTC", "1")]
    page = got(client, PATH, limit=1, offset=1)
    assert (amounts(page), page["total"]) == ([("BTC", "1")], 3)


def test_the_balances_as_of_a_moment(client: FlaskClient, write: Write) -> None:
    write(balance("1", at_ms=T0_MS), balance("2", at_ms=T0_MS + 1000), balance("7", "BTC", T0_MS + 2000))
    assert amounts(got(client, PATH, at="2026-03-29T10:15:51.206Z")) == [("USDT", "1")]
    assert amounts(got(client, PATH, at="2026-03-29T10:15:52.205999Z")) == [("USDT", "1")]
    assert amounts(got(client, PATH, at="2026-03-29T11:15:52.206+01:00")) == [("USDT", "2")]
    assert got(client, PATH, at="2026-03-29T10:15:51Z")["items"] == []
    assert len(got(client, PATH, at="2027-01-01T00:00:00Z")["items"]) == 2


def test_history_is_newest_first_within_its_span(client: FlaskClient, write: Write) -> None:
    write(*(balance(str(n), at_ms=T0_MS + n * 1000) for n in range(5)), balance("9", "BTC", T0_MS + 2500))
    found = got(client, f"{PATH}/history", **{"from": "2026-03-29T10:15:52.206Z", "to": "2026-03-29T10:15:54.206Z"})
    assert amounts(found) == [("BTC", "9"), ("USDT", "2"), ("USDT", "1")]
    assert found["total"] == 3
    assert amounts(got(client, f"{PATH}/history", coin="USDT", limit=2, offset=1)) == [("USDT", "3"), ("USDT", "2")]


def test_the_history_of_a_coin_in_two_accounts_is_one(client: FlaskClient, write: Write) -> None:
    for n, kind in enumerate(("UNIFIED", "SPOT", "UNIFIED", "SPOT")):
        held = wallets.account(wallets.coin(walletBalance=str(n)), accountType=kind)
        write(wallets.live(wallets.frame(held, at_ms=T0_MS + n), T0_MS + n))
    found = got(client, f"{PATH}/history", coin="USDT", limit=2, offset=1)
    assert [(item["account_type"], item["wallet_balance"]) for item in found["items"]] == [
        ("UNIFIED", "2"),
        ("SPOT", "1"),
    ]
    assert found["total"] == 4
    assert [item["account_type"] for item in got(client, PATH, coin="USDT")["items"]] == ["SPOT", "UNIFIED"]


def test_pages_by_cursor_stay_put_while_rows_are_added(client: FlaskClient, write: Write) -> None:
    for coin in ("USDT", None):
        query = {"coin": coin, "limit": 2} if coin else {"limit": 2}
        write(*(balance(str(n), at_ms=T0_MS + n) for n in range(5)))
        first = got(client, f"{PATH}/history", **query)
        write(balance("77", at_ms=T0_MS + 99))
        second = got(client, f"{PATH}/history", cursor=first["next_cursor"], **query)
        third = got(client, f"{PATH}/history", cursor=second["next_cursor"], **query)
        found = [amount for page in (first, second, third) for _, amount in amounts(page)]
        assert found[-4:] == ["3", "2", "1", "0"], "and the twin of an equal moment is not passed over"
        assert third["next_cursor"] is None


def test_an_invalid_query_is_rejected_field_by_field(client: FlaskClient) -> None:
    for query in ({"limit": 0}, {"at": "yesterday"}, {"at": "2026-03-29 10:15:51Z"}, {"coin": ""}, {"what": 1}):
        assert client.get(PATH, query_string=query).status_code == 422, query
    for query in ({"cursor": "abc"}, {"from": "1700000000"}, {"to": "9999-99-99T00:00:00Z"}):
        assert client.get(f"{PATH}/history", query_string=query).status_code == 422, query
    answer = client.get(f"{PATH}/history", query_string={"from": "x"})
    assert answer.json is not None
    assert answer.json["errors"][0]["field"] == "from"


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ({"from": "yesterday"}, "must be an RFC 3339 timestamp, e.g. 2026-08-09T21:26:58.123Z"),
        ({"cursor": "mine"}, "invalid cursor"),
        ({"coin": "A\0"}, "must be valid UTF-8 without NUL"),
    ],
)
def test_an_invalid_parameter_is_answered_with_what_it_must_be(
    client: FlaskClient, parameter: dict[str, str], message: str
) -> None:
    answer = client.get(f"{PATH}/history", query_string={"coin": "USDT"} | parameter)
    assert answer.json is not None
    assert (answer.status_code, message in str(answer.json["errors"])) == (422, True)
