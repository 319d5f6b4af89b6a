"""The rows that a balance event becomes."""

from decimal import Decimal
from typing import Any

from persister import rows
from persister.message import BalanceEvent
from persister.reconcile import APART, Reconciliation
from persister.standing import Key, Standing, nothing_at
from tests.kit import wallets
from tests.kit.wallets import T0_MS, moment, understood

USDT: Key = ("USDT", "UNIFIED")
APART_MS = int(APART.total_seconds() * 1000)


def live(*coins: dict[str, Any], at_ms: int = T0_MS, **account: Any) -> BalanceEvent:
    return understood(wallets.live(wallets.frame(wallets.account(*coins, **account), at_ms=at_ms), at_ms))


def corrected(ledger: dict[Key, Standing], *coins: dict[str, Any]) -> rows.Row:
    """The row of the one drift that two snapshots agree on."""
    reconciling = Reconciliation()
    first, second = (
        understood(wallets.snapshot(wallets.account(*coins), at_ms=T0_MS + after_ms)) for after_ms in (0, APART_MS)
    )
    reconciling.compare(first, ledger)
    [drift] = reconciling.compare(second, ledger).drifts
    return rows.of_drift(second, drift, ledger)


def test_a_coin_is_a_row_with_its_place_its_amounts_and_its_own_text():
    event = live(wallets.coin("BTC"), wallets.coin("USDT", walletBalance="5", locked="1"))
    row = rows.of_coins(event, {})[1]
    assert (row["coin"], row["coin_no"], row["account_no"], row["account_type"]) == ("USDT", 1, 0, "UNIFIED")
    assert (row["wallet_balance"], row["available_balance"], row["frozen"]) == (Decimal(5), Decimal(4), Decimal(1))
    assert row["raw"] == event.accounts[0].coins[1].text
    assert (row["event_id"], row["trace_id"], row["origin"]) == (event.id, event.id, "live")
    assert row["event_timestamp"] == row["received_at"] == moment(T0_MS)


def test_an_account_is_a_row_with_its_totals_and_the_text_of_the_message():
    event = live(wallets.coin(), totalEquity="7", accountIMRate="-1")
    [row] = rows.of_accounts(event)
    assert (row["account_no"], row["account_type"], row["total_equity"]) == (0, "UNIFIED", Decimal(7))
    assert (row["raw"], row["anomalies"]) == (event.text, ["sign:account_im_rate"])


def test_each_coin_is_compared_with_the_one_before_it():
    ledger: dict[Key, Standing] = {}
    event = live(*(wallets.coin(walletBalance=amount, equity=amount, usdValue=amount) for amount in ("200", "9000")))
    assert [row["anomalies"] for row in rows.of_coins(event, ledger)] == [[], ["jump:wallet_balance"]]
    assert ledger[USDT].wallet_balance == 9000


def test_a_late_event_leaves_the_ledger_as_it_is():
    ledger: dict[Key, Standing] = {}
    for amount, at_ms in (("1", T0_MS), ("2", T0_MS - 1), ("3", T0_MS)):
        rows.of_coins(live(wallets.coin(walletBalance=amount), at_ms=at_ms), ledger)
        assert ledger[USDT].wallet_balance == (1 if amount == "2" else Decimal(amount))


def test_a_drift_of_a_listed_coin_is_its_row_of_the_snapshot():
    ledger = {USDT: Standing(moment(T0_MS - 1), Decimal(1), Decimal(0), None, None)}
    row = corrected(ledger, wallets.coin(walletBalance="2"))
    assert (row["wallet_balance"], row["coin_no"], row["origin"]) == (2, 0, "snapshot")
    assert ledger[USDT].wallet_balance == 2


def test_a_drift_of_a_coin_that_is_gone_is_a_row_of_zeros():
    ledger = {USDT: Standing(moment(T0_MS - 1), Decimal(1), Decimal(0), None, None)}
    row = corrected(ledger, wallets.coin("BTC", walletBalance="0"))
    zeros = ("wallet_balance", "available_balance", "frozen", "locked", "equity", "usd_value")
    assert {name: row[name] for name in zeros} == dict.fromkeys(zeros, Decimal(0))
    assert (row["coin"], row["coin_no"], row["account_type"]) == ("USDT", -1, "UNIFIED")
    assert (row["raw"], row["anomalies"], row["bonus"], row["collateral_switch"]) == ("null", [], None, None)
    assert ledger[USDT] == nothing_at(moment(T0_MS + APART_MS))


def test_a_row_has_a_value_for_every_column_of_its_table():
    listed = rows.of_coins(live(wallets.coin()), {})[0]
    gone = corrected({USDT: Standing(moment(0), Decimal(1), None, None, None)}, wallets.coin("BTC", walletBalance="0"))
    assert listed.keys() == gone.keys()
