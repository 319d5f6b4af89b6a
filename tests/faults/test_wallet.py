"""The wallet from REST lags, differs or fails, and the ledger stays correct."""

from datetime import datetime
from typing import Any

import pytest

from tests.e2e.stack import Stack
from tests.faults.conftest import Exchange
from tests.kit.waiting import eventually

COIN = "MNT"  # no fill of the simulator's account touches it


@pytest.fixture
def held(gateway: Stack, exchange: Exchange) -> str:
    """An amount of the coin that the connection has pushed."""
    pushed = len(history(gateway))
    amount = f"{100 + pushed}.25"
    exchange.control("wallet", coin=COIN, walletBalance=amount)
    eventually(lambda: history(gateway)[:1] == [(amount, "live")], 20, "it is in the ledger")
    return amount


def history(gateway: Stack) -> list[tuple[str, str]]:
    """Amount and origin, the newest first."""
    items = gateway.call("GET", f"/api/v1/balances/history?coin={COIN}")[1]["items"]
    return [(item["wallet_balance"], item["origin"]) for item in items]


def latest(gateway: Stack) -> str:
    [item] = gateway.call("GET", f"/api/v1/balances?coin={COIN}")[1]["items"]
    return str(item["wallet_balance"])


def synced(gateway: Stack, within_s: float = 60.0) -> dict[str, Any]:
    """Request a comparison and wait for its outcome."""
    status, found = gateway.call("POST", "/api/v1/balances/sync")
    assert status in (200, 202), found
    path = f"/api/v1/balances/sync/{found['id']}"
    eventually(lambda: gateway.call("GET", path)[0] == 200, within_s, "the comparison is over")
    return dict(gateway.call("GET", path)[1])


def drifted(gateway: Stack) -> dict[str, Any] | None:
    """One more comparison, if it found the ledger wrong."""
    return next((each for each in [synced(gateway)] if each["outcome"] == "drift"), None)


def changes(sync: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["coin"]: (each["kind"], each["exchange"]["wallet_balance"]) for each in sync["changes"]}


def audits(gateway: Stack) -> list[tuple[str, datetime]]:
    return gateway.database.execute("SELECT outcome, requested_at FROM balance_audits ORDER BY id")


def test_messages_that_were_lost_are_made_good(gateway: Stack, exchange: Exchange, held: str):
    exchange.fault("mute", endpoint="private", topic="wallet")
    exchange.control("wallet", coin=COIN, walletBalance="0.00000001")
    status, found = gateway.call("POST", "/api/v1/balances/sync")
    assert status == 200, "the answer comes within 10 s"
    if found["outcome"] == "unconfirmed":  # something else was changing meanwhile
        found = eventually(lambda: drifted(gateway), 60, "two looks agree")
    assert found["outcome"] == "drift"
    assert changes(found)[COIN] == ("changed", "0.00000001")
    assert history(gateway)[:2] == [("0.00000001", "snapshot"), (held, "live")]
    exchange.control("wallet", coin=COIN, walletBalance="0")
    assert changes(synced(gateway))[COIN] == ("gone", "0")
    assert latest(gateway) == "0"
    assert gateway.metrics(gateway.persister_metrics)['wsgw_persister_drifts_total{kind="gone"}'] >= 1


def test_an_answer_that_lags_changes_nothing(gateway: Stack, exchange: Exchange, held: str):
    exchange.fault("lagging_wallet", lag_s=4)
    exchange.control("wallet", coin=COIN, walletBalance="7")
    eventually(lambda: latest(gateway) == "7", 20, "the connection pushed it")
    assert COIN not in changes(synced(gateway))
    assert history(gateway)[:2] == [("7", "live"), (held, "live")]


def test_an_answer_that_lags_for_longer_is_soon_made_good(gateway: Stack, exchange: Exchange, held: str):
    exchange.fault("lagging_wallet", lag_s=60)
    exchange.control("wallet", coin=COIN, walletBalance="8")
    eventually(lambda: latest(gateway) == "8", 20, "the connection pushed it")
    assert COIN in changes(synced(gateway)), "two looks agreed"
    exchange.well()
    eventually(lambda: latest(gateway) == "8", 30, "a difference is checked again without a request")


@pytest.mark.parametrize("form", ["error", "http", "empty", "garbage"])
def test_an_answer_that_failed_changes_nothing(gateway: Stack, exchange: Exchange, held: str, form: str):
    before = len(audits(gateway))
    exchange.control("faults", kind="rest", form=form, count=50)
    status, problem = gateway.call("POST", "/api/v1/balances/sync")
    assert (status, problem["code"]) == (502, "exchange_failed")
    assert (latest(gateway), len(audits(gateway))) == (held, before)


def test_a_socket_that_came_back_is_followed_by_a_comparison(gateway: Stack, exchange: Exchange, held: str):
    exchange.fault("mute", endpoint="private", topic="wallet", seconds=1)
    exchange.control("wallet", coin=COIN, walletBalance="55.5")
    [(before,)] = gateway.database.execute("SELECT max(requested_at) FROM balance_audits")
    exchange.control("abort", endpoint="private")
    eventually(lambda: audits(gateway)[-1][1] > before, 20, "it is compared")
    eventually(lambda: history(gateway)[:1] == [("55.5", "snapshot")], 20, "what the socket missed is corrected")
    proven = "SELECT 1 FROM balance_audits WHERE outcome = 'proven'"
    assert eventually(lambda: gateway.database.execute(proven), 20, "there is a time when it was proven last")
