"""Whether the ledger and the exchange agree."""

from decimal import Decimal
from typing import Any

import pytest

from persister.reconcile import Comparison, Reconciliation
from persister.standing import Key, Standing
from tests.kit import wallets
from tests.kit.wallets import T0_MS, moment, understood

USDT: Key = ("USDT", "UNIFIED")


def standing(amount: str | None, at_s: float = -60, locked: str | None = "0") -> Standing:
    held, frozen = (None if text is None else Decimal(text) for text in (amount, locked))
    return Standing(moment(T0_MS + int(at_s * 1000)), held, frozen, None, None)


def compared(
    reconciliation: Reconciliation, at_s: float, ledger: dict[Key, Standing], *coins: dict[str, Any]
) -> Comparison:
    body = wallets.snapshot(wallets.account(*coins), at_ms=T0_MS + int(at_s * 1000))
    return reconciliation.compare(understood(body), ledger)


def usdt(amount: str, **fields: Any) -> dict[str, Any]:
    return wallets.coin(walletBalance=amount, **fields)


def test_equal_amounts_prove_the_ledger_however_they_are_written() -> None:
    found = compared(Reconciliation(), 0, {USDT: standing("1.50")}, usdt("1.5"))
    assert (found.outcome, found.coins) == ("proven", 1)


def test_a_difference_counts_when_two_snapshots_five_seconds_apart_agree() -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1")}
    assert compared(reconciliation, 0, ledger, usdt("2")).outcome == "unconfirmed"
    assert compared(reconciliation, 4.999, ledger, usdt("2")).outcome == "unconfirmed"
    found = compared(reconciliation, 5, ledger, usdt("2"))
    assert (found.outcome, [drift.kind for drift in found.drifts]) == ("drift", ["changed"])
    assert found.drifts[0].exchange.wallet_balance == 2


def test_snapshots_that_disagree_start_again() -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1")}
    assert compared(reconciliation, 0, ledger, usdt("2")).outcome == "unconfirmed"
    assert compared(reconciliation, 6, ledger, usdt("3")).outcome == "unconfirmed"
    assert compared(reconciliation, 10, ledger, usdt("3")).outcome == "unconfirmed"
    assert compared(reconciliation, 11, ledger, usdt("3")).outcome == "drift"


def test_a_difference_that_goes_away_is_forgotten() -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1")}
    compared(reconciliation, 0, ledger, usdt("2"))
    assert compared(reconciliation, 6, ledger, usdt("1")).outcome == "proven"
    assert compared(reconciliation, 12, ledger, usdt("2")).outcome == "unconfirmed"


def test_after_a_wallet_event_in_between_it_starts_again() -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1")}
    compared(reconciliation, 0, ledger, usdt("2"))
    reconciliation.reset([USDT])
    assert compared(reconciliation, 6, ledger, usdt("2")).outcome == "unconfirmed"


def test_a_wallet_event_of_another_coin_changes_nothing() -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1")}
    compared(reconciliation, 0, ledger, usdt("2"))
    reconciliation.reset([("BTC", "UNIFIED"), ("USDT", "SPOT")])
    assert compared(reconciliation, 6, ledger, usdt("2")).outcome == "drift"


def test_a_ledger_that_is_younger_than_the_snapshot_is_not_compared_with_it() -> None:
    reconciliation = Reconciliation()
    assert compared(reconciliation, 0, {USDT: standing("1", at_s=0.001)}, usdt("2")).outcome == "proven"
    assert compared(reconciliation, 6, {USDT: standing("1", at_s=7)}, usdt("2")).outcome == "proven"


def test_a_coin_that_both_snapshots_leave_out_is_zero() -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1"), ("BTC", "UNIFIED"): standing("0")}
    assert compared(reconciliation, 0, ledger, wallets.coin("ETH", walletBalance="0")).outcome == "unconfirmed"
    [drift] = compared(reconciliation, 5, ledger, wallets.coin("ETH", walletBalance="0")).drifts
    assert (drift.coin, drift.kind, drift.listed, drift.exchange.wallet_balance) == ("USDT", "gone", None, Decimal(0))


def test_coins_of_an_account_that_the_snapshot_is_not_about_are_left_alone() -> None:
    ledger = {("USDT", "SPOT"): standing("1"), USDT: standing("2")}
    assert compared(Reconciliation(), 0, ledger, usdt("2")).outcome == "proven"


def test_a_coin_that_the_ledger_does_not_know_is_new() -> None:
    reconciliation = Reconciliation()
    assert compared(reconciliation, 0, {}, usdt("2")).outcome == "unconfirmed"
    [drift] = compared(reconciliation, 5, {}, usdt("2")).drifts
    assert (drift.kind, drift.ledger) == ("new", None)


def test_nothing_known_and_nothing_there_is_agreement() -> None:
    assert compared(Reconciliation(), 0, {}, usdt("0")).outcome == "proven"


@pytest.mark.parametrize("accounts", [[], [wallets.account()]])
def test_an_empty_answer_changes_nothing(accounts: list[dict[str, Any]]) -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1")}
    compared(reconciliation, 0, ledger, usdt("2"))
    assert (
        reconciliation.compare(understood(wallets.snapshot(*accounts, at_ms=T0_MS + 3000)), ledger).outcome == "empty"
    )
    assert compared(reconciliation, 6, ledger, usdt("2")).outcome == "drift"


def test_what_is_locked_counts_and_what_one_side_does_not_state_does_not() -> None:
    assert compared(Reconciliation(), 0, {USDT: standing("1")}, usdt("1", locked="0.5")).outcome == "unconfirmed"
    assert (
        compared(Reconciliation(), 0, {USDT: standing("1", locked=None)}, usdt("1", locked="0.5")).outcome == "proven"
    )


def test_what_moves_with_the_market_does_not_count() -> None:
    found = compared(Reconciliation(), 0, {USDT: standing("1")}, usdt("1", equity="9", usdValue="9", unrealisedPnl="8"))
    assert found.outcome == "proven"


def test_a_confirmed_drift_beside_a_fresh_doubt() -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1")}
    compared(reconciliation, 0, ledger, usdt("2"))
    found = compared(reconciliation, 5, ledger, usdt("2"), wallets.coin("BTC"))
    assert (found.outcome, len(found.drifts), [each.coin for each in found.unconfirmed]) == ("drift", 1, ["BTC"])


def test_the_same_snapshot_again_confirms_nothing() -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1")}
    compared(reconciliation, 0, ledger, usdt("2"))
    assert compared(reconciliation, 0, ledger, usdt("2")).outcome == "unconfirmed"
    assert compared(reconciliation, -9, ledger, usdt("2")).outcome == "unconfirmed"
    assert compared(reconciliation, -3, ledger, usdt("2")).outcome == "drift", "six seconds after the oldest snapshot"


def test_a_copy_remembers_for_itself() -> None:
    reconciliation, ledger = Reconciliation(), {USDT: standing("1")}
    compared(reconciliation, 0, ledger, usdt("2"))
    reconciliation.copy().reset([USDT])
    assert compared(reconciliation, 5, ledger, usdt("2")).outcome == "drift"
