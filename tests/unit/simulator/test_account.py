"""All topics of the account are consistent."""

import json
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from simulator.account import Account, Push

NOW_MS = 1_795_165_000_000
PRICES = {"BTCUSDT": Decimal("65114.30"), "ETHUSDT": Decimal("1922.48")}


@pytest.fixture
def account() -> Account:
    return Account(PRICES.__getitem__, 2000, NOW_MS)


def pushed(account: Account, seconds: int) -> list[tuple[Push, Any]]:
    pushes = [push for at in range(0, seconds * 1000 + 1, 100) for push in account.passed(NOW_MS + at)]
    return [(push, json.loads(push.text)) for push in pushes]


def of(pushes: list[tuple[Push, Any]], kind: str) -> list[Any]:
    return [body for push, body in pushes if push.kind == kind]


def test_a_fill_is_pushed_on_five_topics_that_agree(account: Account):
    pushes = pushed(account, 2)
    assert [push.kind for push, _ in pushes][:5] == ["execution.fast", "order", "execution", "position", "wallet"]
    fast, order, execution, position, wallet = (body["data"][0] for _, body in pushes[:5])
    assert pushes[1][1]["id"] == pushes[2][1]["id"] == f"100200300_BTCUSDT_{execution['seq']}"
    assert fast["execId"] == execution["execId"]
    assert fast["orderId"] == order["orderId"] == execution["orderId"]
    assert fast["execPrice"] == order["avgPrice"] == execution["execPrice"] == position["entryPrice"]
    assert order["cumExecFee"] == execution["execFee"]
    assert (position["side"], position["size"]) == ("Buy", "0.001")
    assert Decimal(wallet["coin"][0]["walletBalance"]) == Decimal("10000") - Decimal(execution["execFee"])


def test_messages_are_made_now(account: Account):
    for push, body in pushed(account, 10):
        assert -10 <= body["creationTime"] - NOW_MS - 2000 <= 8000, push.kind


def test_ids_never_repeat(account: Account):
    pushes = pushed(account, 60)
    ids = [body["data"][0]["execId"] for body in of(pushes, "execution")]
    assert len(ids) == len(set(ids)) == 30
    seqs = [body["data"][0]["seq"] for body in of(pushes, "execution")]
    assert all(before < after for before, after in pairwise(seqs))


def test_balances_move_by_what_the_fills_cost(account: Account):
    pushes = pushed(account, 60)
    balances = {name: coin.wallet for name, coin in account.coins.items()}
    expected = {"USDT": Decimal("10000"), "BTC": Decimal("0.5")}
    for body in of(pushes, "execution"):
        row = body["data"][0]
        sign = 1 if row["side"] == "Buy" else -1
        if row["category"] == "spot":
            expected["BTC"] += sign * Decimal(row["execQty"])
            expected["USDT"] -= sign * Decimal(row["execValue"])
        expected["BTC" if row["category"] == "spot" and sign == 1 else "USDT"] -= Decimal(row["execFee"])
    assert {name: balances[name] for name in expected} == expected


def test_a_wallet_push_names_only_the_coins_that_moved(account: Account):
    pushes = pushed(account, 16)
    coins = [[coin["coin"] for coin in body["data"][0]["coin"]] for body in of(pushes, "wallet")]
    assert ["USDT"] in coins
    assert ["BTC", "USDT"] in coins
    assert all("USDC" not in names for names in coins)


def test_some_values_are_negative_and_some_empty(account: Account):
    assert account.coins["USDC"].values()["walletBalance"] == "-0.0664735"
    assert account.coins["BTC"].values()["totalOrderIM"] == ""


def test_a_flat_position_has_no_side(account: Account):
    positions = [body["data"][0] for body in of(pushed(account, 16), "position") if body["data"][0]["seq"] != "-1"]
    assert {"", "Buy", "Sell"} == {row["side"] for row in positions}
    assert all((row["side"] == "") == (row["size"] == "0") for row in positions)


def test_a_limit_order_is_new_before_it_is_filled(account: Account):
    orders = [body["data"][0] for body in of(pushed(account, 4), "order")]
    new, filled = (row for row in orders if row["orderType"] == "Limit")
    assert new["orderId"] == filled["orderId"]
    assert (new["orderStatus"], filled["orderStatus"]) == ("New", "Filled")
    assert new["createdTime"] == filled["createdTime"]


def test_a_categorised_topic_gets_the_same_message_under_its_own_name(account: Account):
    push = next(push for push, _ in pushed(account, 2) if push.kind == "order")
    assert push.as_topic("order.linear") == push.text.replace('"order"', '"order.linear"', 1)


@pytest.mark.parametrize(
    ("kind", "category", "sample"),
    [
        ("order", "linear", "private.order.2026.jsonl"),
        ("order", "spot", "private.order.spot.2023.jsonl"),
        ("execution", "spot", "private.execution.spot.2023.jsonl"),
        ("execution.fast", "linear", "private.execution.fast.2026.jsonl"),
        ("position", "linear", "private.position.2026.jsonl"),
        ("wallet", "", "private.wallet.2026.jsonl"),
        ("greeks", "", "docs/ws.private.greek.02.greeks.json"),
    ],
)
def test_key_order(account: Account, real, shape: Callable[[Any], Any], kind: str, category: str, sample: str):
    pushes = pushed(account, 16)
    bodies = [body for push, body in pushes if (push.kind, push.category) == (kind, category)]
    like = real(sample)
    filled = [body for body in bodies if body["data"][0].get("seq") != "-1"]
    fees = [shape(body["data"][0].pop("cumFeeDetail", None)) for body in [like, *filled]]
    assert fees
    assert all(shape(body) == shape(like) for body in filled)


def test_execution_has_the_documented_keys(account: Account, real):
    body = next(b for p, b in pushed(account, 2) if p.kind == "execution")
    like = real("docs/ws.private.execution.02.execution.json")
    assert list(body) == list(like)
    assert list(body["data"][0]) == list(like["data"][0])


def test_a_set_wallet_is_pushed_and_kept(account: Account):
    push = account.set_wallet("XRP", {"walletBalance": "-3.5", "bonus": ""}, NOW_MS)
    coin = json.loads(push.text)["data"][0]["coin"][0]
    assert (coin["coin"], coin["walletBalance"], coin["bonus"]) == ("XRP", "-3.5", "")
    assert account.coins["XRP"].values()["walletBalance"] == "-3.5"
