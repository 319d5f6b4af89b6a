"""What a batch leaves in Postgres."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from common.errors import BadMessage
from persister.ledger import Ledger
from tests.kit import wallets
from tests.kit.servers import Database
from tests.kit.wallets import T0_MS, understood

Write = Callable[..., None]


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    made = Ledger(engine)
    made.open()
    return made


@pytest.fixture
def write(ledger: Ledger) -> Write:
    return lambda *bodies: ledger.write([understood(body) for body in bodies])


def usdt(amount: str, at_ms: int = T0_MS, **fields: Any) -> bytes:
    held = wallets.account(wallets.coin(walletBalance=amount, **fields))
    return wallets.live(wallets.frame(held, at_ms=at_ms), at_ms)


def snapshot(amount: str, at_ms: int) -> bytes:
    return wallets.snapshot(wallets.account(wallets.coin(walletBalance=amount)), at_ms=at_ms)


def test_amounts_of_any_form_are_kept_exactly(write: Write, database: Database) -> None:
    forms = [
        "1e-18",
        "1234567890123456789012345678901234567890",
        "-0.10",
        "0",
        "1E+5",
        "0.1234567890123456789012345678",
    ]
    write(*(usdt(form, T0_MS + n) for n, form in enumerate(forms)))
    kept = database.execute("SELECT wallet_balance::text FROM account_balances ORDER BY id")
    assert [row[0] for row in kept] == ["0.000000000000000001", forms[1], "-0.10", "0", "100000", forms[5]]


def test_raw_text_is_kept_as_it_was_written(write: Write, database: Database) -> None:
    written = '{"walletBalance": 1.50, "coin":"BTC", "new":"\\u00e4\\u0000"}'
    data = f'{{ "data" : [ {{"accountType":"UNIFIED", "coin":[ {written} ]}} ] }}'.encode()
    write(wallets.live(data))
    [(coin,)] = database.execute("SELECT raw::text FROM account_balances")
    [(message,)] = database.execute("SELECT raw::text FROM account_margin_balances")
    assert coin == written
    assert message.encode() == data


def test_500_coins_of_a_message_are_all_there(write: Write, database: Database) -> None:
    coins = [wallets.coin(f"C{n}", walletBalance=str(n)) for n in range(500)]
    write(wallets.live(wallets.frame(wallets.account(*coins))))
    [row] = database.execute("SELECT count(*), sum(wallet_balance), count(DISTINCT coin) FROM account_balances")
    assert row == (500, sum(range(500)), 500)


def test_a_message_without_coins_still_has_the_margin(write: Write, database: Database) -> None:
    write(wallets.live(wallets.frame(wallets.account(totalEquity="5"))))
    assert database.execute("SELECT total_equity FROM account_margin_balances") == [(5,)]
    assert database.execute("SELECT 1 FROM account_balances") == []


def test_the_same_events_again_add_nothing(engine: Engine, database: Database) -> None:
    bodies = [usdt(str(n), T0_MS + n) for n in range(3)]
    for _ in range(3):
        ledger = Ledger(engine)
        ledger.open()
        ledger.write([understood(body) for body in (*bodies, *bodies)])
    assert database.execute("SELECT wallet_balance FROM account_balances ORDER BY id") == [(0,), (1,), (2,)]
    assert len(database.execute("SELECT 1 FROM account_margin_balances")) == 3


def test_an_inconsistent_balance_is_stored_and_flagged(write: Write, database: Database) -> None:
    write(usdt("1000", usdValue="1000", equity="1000"), usdt("-1", T0_MS + 1, locked="-2", equity="7"))
    rows = database.execute("SELECT wallet_balance, anomalies FROM account_balances ORDER BY id")
    assert rows == [(1000, []), (-1, ["sign:locked", "sum:equity", "jump:wallet_balance"])]


def test_a_balance_that_becomes_inconsistent_is_logged_when_its_checks_change(write: Write) -> None:
    with capture_logs() as logs:
        write(usdt("1", T0_MS), usdt("1", T0_MS + 1, locked="-1"), usdt("1", T0_MS + 2, locked="-1"))
        write(usdt("1", T0_MS + 3, locked="-2"), usdt("1", T0_MS + 4), usdt("1", T0_MS + 5, bonus="-1"))
    warned = [(log["coin"], log["checks"]) for log in logs if log["event"] == "balance inconsistent"]
    assert warned == [("USDT", ("sign:locked",)), ("USDT", ("sign:bonus",))]


def test_a_field_without_a_column_is_reported_once(write: Write, database: Database) -> None:
    with capture_logs() as logs:
        write(usdt("1", shiny="new"))
        write(usdt("1", T0_MS + 1, shiny="newer"))
    named = [log["field"] for log in logs if log["event"] == "field without a column"]
    assert named == ["coin.shiny"]
    kept = database.execute("SELECT raw->>'shiny' FROM account_balances ORDER BY id")
    assert kept == [("new",), ("newer",)]


def test_a_message_that_comes_late_is_not_what_the_next_one_is_held_against(write: Write, database: Database) -> None:
    write(usdt("100", T0_MS + 10), usdt("1", T0_MS), usdt("101", T0_MS + 20))
    assert database.execute("SELECT DISTINCT anomalies FROM account_balances") == [([],)]


def test_a_batch_that_postgres_refuses_is_refused_whole(ledger: Ledger, database: Database) -> None:
    database.execute("ALTER TABLE account_balances ADD CHECK (wallet_balance < 1000)")
    good, bad = understood(usdt("1")), understood(usdt("1000", T0_MS + 1))
    with pytest.raises(BadMessage, match="SQLSTATE 23514"):
        ledger.write([good, bad])
    assert database.execute("SELECT 1 FROM account_balances") == []
    ledger.write([understood(usdt("1", T0_MS + 2))])
    assert database.execute("SELECT anomalies FROM account_balances") == [([],)], (
        "what was not written is not compared with"
    )


def test_filling_an_empty_ledger_is_no_correction(write: Write) -> None:
    with capture_logs() as logs:
        write(snapshot("1", T0_MS), snapshot("1", T0_MS + 6000))
    assert [(log["event"], log["log_level"]) for log in logs if log["log_level"] != "debug"] == [
        ("balance added from two snapshots", "info")
    ]


def test_a_ledger_that_differs_twice_is_corrected_with_a_warning(write: Write) -> None:
    write(usdt("1"))
    with capture_logs() as logs:
        write(snapshot("2", T0_MS + 1000), snapshot("2", T0_MS + 7000))
    assert [(log["event"], log["log_level"]) for log in logs if log["log_level"] != "debug"] == [
        ("balance corrected by two snapshots", "warning")
    ]


def test_two_snapshots_correct_the_ledger_and_every_snapshot_is_on_record(write: Write, database: Database) -> None:
    write(usdt("1"))
    write(
        snapshot("1", T0_MS + 1000),
        snapshot("2", T0_MS + 2000),
        snapshot("2", T0_MS + 7000),
        snapshot("2", T0_MS + 8000),
    )
    rows = database.execute("SELECT wallet_balance, origin, event_timestamp FROM account_balances ORDER BY id")
    assert rows == [(1, "live", wallets.moment(T0_MS)), (2, "snapshot", wallets.moment(T0_MS + 7000))]
    audits = database.execute(
        "SELECT outcome, requested_at, jsonb_array_length(drifts) FROM balance_audits ORDER BY id"
    )
    assert audits == [
        ("proven", wallets.moment(T0_MS + 1000), 0),
        ("unconfirmed", wallets.moment(T0_MS + 2000), 0),
        ("drift", wallets.moment(T0_MS + 7000), 1),
        ("proven", wallets.moment(T0_MS + 8000), 0),
    ]
    [(drifts,)] = database.execute("SELECT drifts FROM balance_audits WHERE outcome = 'drift'")
    assert drifts[0]["ledger"]["wallet_balance"] == "1"
    assert drifts[0]["exchange"]["wallet_balance"] == "2"


def test_a_coin_that_left_is_written_down_as_zero(write: Write, database: Database) -> None:
    write(usdt("1"))
    write(
        *(wallets.snapshot(wallets.account(wallets.coin("BTC", walletBalance="0")), at_ms=T0_MS + n) for n in (1, 9000))
    )
    row = "SELECT wallet_balance, available_balance, frozen, coin_no, raw::text, account_type FROM account_balances"
    assert database.execute(f"{row} WHERE origin = 'snapshot'") == [(0, 0, 0, -1, "null", "UNIFIED")]


def test_a_new_wallet_is_filled_from_two_snapshots(write: Write, database: Database) -> None:
    result = json.loads(wallets.document("rest.account.wallet-balance.01.body.json"))["result"]["list"]
    result[0]["coin"][0]["walletBalance"] = "0.5"
    write(wallets.snapshot(*result, at_ms=T0_MS), wallets.snapshot(*result, at_ms=T0_MS + 5000))
    assert database.execute("SELECT coin, wallet_balance::text FROM account_balances") == [("BTC", "0.5")]
    assert database.execute("SELECT total_equity::text FROM account_margin_balances") == [("3.31216591",)]


def test_a_message_that_comes_late_is_kept_and_the_latest_stays(write: Write, database: Database) -> None:
    write(usdt("2", T0_MS + 10), usdt("1", T0_MS))
    write(usdt("0", T0_MS - 10))
    assert database.execute("SELECT wallet_balance FROM latest_account_balances") == [(2,)]
    assert len(database.execute("SELECT 1 FROM account_balances")) == 3
    assert database.execute("SELECT event_timestamp FROM latest_account_margin_balances") == [
        (wallets.moment(T0_MS + 10),)
    ]
