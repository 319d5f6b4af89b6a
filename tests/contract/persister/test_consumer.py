"""From the queue into the tables."""

import json
import threading
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from common import topology
from common.errors import Unavailable
from persister.ledger import Ledger
from persister.message import BalanceEvent
from tests.contract.persister.conftest import Queue, consuming, rows
from tests.kit import wallets
from tests.kit.servers import Broker, Database
from tests.kit.waiting import eventually

COINS = "SELECT coin, wallet_balance::text, origin FROM account_balances ORDER BY id"


def test_a_real_wallet_frame_becomes_its_rows(queue: Queue, persister: threading.Thread, database: Database) -> None:
    data = wallets.real("private.wallet.2026.jsonl")
    queue.publish(wallets.live(data))
    [row] = rows(
        database,
        "SELECT coin, wallet_balance::text, available_balance::text, frozen::text, equity::text, borrow_amount::text,"
        " available_to_withdraw, collateral_switch, event_timestamp, event_id, trace_id, raw::text"
        " FROM account_balances",
        1,
    )
    event = wallets.understood(wallets.live(data))
    assert row[:8] == ("USDC", "-0.0664735", "0", "6.70702815", "-0.0679535", "0.0679535", None, True)
    assert row[8:11] == (wallets.moment(wallets.T0_MS), event.id, event.id)
    assert str(row[11]).encode() in data
    [margin] = rows(
        database, "SELECT total_perp_upl::text, account_ltv::text, raw::text FROM account_margin_balances", 1
    )
    assert margin == ("-36.34620293", "0.0011", data.decode())


def test_repeats_are_stored_once(queue: Queue, persister: threading.Thread, database: Database) -> None:
    body, last = wallets.live(wallets.real("private.wallet.2023.jsonl")), wallets.live(wallets.frame())
    queue.publish(body, body, wallets.live(wallets.frame(wallets.account(wallets.coin("LAST")))), body, last)
    assert len(rows(database, COINS, 4)) == 4
    eventually(lambda: not queue.unsettled(), 10, "all are acknowledged")
    assert len(rows(database, COINS, 4)) == 4


def test_the_same_coin_twice_and_in_two_accounts_is_as_many_rows(
    queue: Queue, persister: threading.Thread, database: Database
) -> None:
    twice = wallets.account(wallets.coin(walletBalance="1"), wallets.coin(walletBalance="2"))
    other = wallets.account(wallets.coin(walletBalance="3"), accountType="CONTRACT")
    queue.publish(wallets.live(wallets.frame(twice, other)))
    assert [row[1] for row in rows(database, COINS, 3)] == ["1", "2", "3"]
    kept = database.execute("SELECT account_type, wallet_balance FROM latest_account_balances ORDER BY account_type")
    assert kept == [("CONTRACT", 3), ("UNIFIED", 2)]


def test_what_cannot_be_parsed_is_dead_lettered_with_the_reason_and_the_next_is_stored(
    queue: Queue, persister: threading.Thread, database: Database
) -> None:
    bad = wallets.live(wallets.frame(wallets.account(wallets.coin(walletBalance="a lot"))))
    queue.publish(b"no json", bad, wallets.gap(), wallets.live(wallets.frame(wallets.account(wallets.coin("BTC")))))
    assert rows(database, COINS, 1) == [("BTC", "100", "live")]
    eventually(lambda: not queue.unsettled(), 10, "all are acknowledged")
    first, second = queue.dead()
    assert (first[1], second[1]) == (b"no json", bad)
    assert first[0].headers["reason"].startswith("not valid JSON")
    assert second[0].headers["reason"] == "USDT: walletBalance must be an amount"
    assert second[0].headers["queue"] == topology.BALANCE_QUEUE
    assert second[0].message_id == "id of the message"


class Slow(Ledger):
    """Takes too long over more than a few messages."""

    def write(self, events: Sequence[BalanceEvent]) -> None:
        if len(events) > 20:
            raise Unavailable("canceling statement due to statement timeout")
        super().write(events)


def test_what_is_too_much_at_once_is_written_in_smaller_pieces(
    queue: Queue, broker: Broker, engine: Engine, database: Database
) -> None:
    frames = [
        wallets.frame(wallets.account(wallets.coin(walletBalance=str(n))), at_ms=wallets.T0_MS + n) for n in range(90)
    ]
    queue.publish(*(wallets.live(frame) for frame in frames))
    with consuming(broker, Slow(engine)):
        assert [row[1] for row in rows(database, COINS, 90)] == [str(n) for n in range(90)]


class Unforeseen(Ledger):
    """Fails for one coin with an unforeseen error."""

    def write(self, events: Sequence[BalanceEvent]) -> None:
        if any(coin.name == "ODD" for event in events for account in event.accounts for coin in account.coins):
            raise ZeroDivisionError("not foreseen")
        super().write(events)


def test_a_message_that_fails_with_an_unforeseen_error_is_dead_lettered_and_the_others_are_stored(
    queue: Queue, broker: Broker, engine: Engine, database: Database
) -> None:
    names = ("BTC", "ODD", "ETH")
    queue.publish(*(wallets.live(wallets.frame(wallets.account(wallets.coin(name)))) for name in names))
    with consuming(broker, Unforeseen(engine)):
        assert [row[0] for row in rows(database, COINS, 2)] == ["BTC", "ETH"]
    eventually(lambda: not queue.unsettled(), 10, "all are acknowledged")
    [(properties, body)] = queue.dead()
    assert b"ODD" in body
    assert properties.headers["reason"] == "internal error: ZeroDivisionError: not foreseen"


IMPOSSIBLE = ("9999-12-31T12:00:00Z", "0001-01-01T00:00:00+14:00", "2200-01-01T00:00:00Z", "1969-12-31T23:59:59Z")


@pytest.mark.parametrize("moment", IMPOSSIBLE)
def test_a_forged_time_of_receipt_is_dead_lettered_and_the_next_message_is_stored(
    queue: Queue, persister: threading.Thread, database: Database, moment: str
) -> None:
    forged = json.loads(wallets.live(wallets.frame(wallets.account(wallets.coin("FORGED"))))) | {"receivedtime": moment}
    queue.publish(json.dumps(forged).encode(), wallets.live(wallets.frame(wallets.account(wallets.coin("BTC")))))
    assert rows(database, COINS, 1) == [("BTC", "100", "live")]
    eventually(lambda: not queue.unsettled(), 10, "all are acknowledged")
    [(properties, _)] = queue.dead()
    assert properties.headers["reason"] == "receivedtime is missing, or not between 1970 and 2200"


@pytest.mark.parametrize("moment", IMPOSSIBLE)
def test_an_impossible_time_of_the_exchange_counts_as_none(moment: str) -> None:
    frame = wallets.frame(wallets.account(wallets.coin("BTC")), at_ms=10**14)
    event = wallets.understood(json.dumps(json.loads(wallets.live(frame)) | {"time": moment}).encode())
    assert event.exchange_at is None
    assert event.at == event.received_at


def test_it_waits_for_a_queue_that_is_not_there_yet(
    queue: Queue, engine: Engine, request: object, database: Database, persister: threading.Thread
) -> None:
    queue.channel.queue_delete(topology.BALANCE_QUEUE)
    eventually(lambda: persister.is_alive(), 1, "the persister runs")
    queue.declare()
    queue.publish(wallets.live(wallets.frame(wallets.account(wallets.coin("BTC")))))
    assert rows(database, COINS, 1) == [("BTC", "100", "live")]


def logged(logs: Sequence[MutableMapping[str, Any]], level: str) -> list[str]:
    return [entry["event"] for entry in logs if entry["log_level"] == level]


def test_a_queue_that_is_about_to_be_declared_is_waited_for_without_a_warning(
    queue: Queue, broker: Broker, engine: Engine
) -> None:
    queue.channel.queue_delete(topology.BALANCE_QUEUE)
    with capture_logs() as logs, consuming(broker, Ledger(engine)):
        eventually(lambda: "waiting for the balance queue" in logged(logs, "info"), 20, "it waits")
        queue.declare()
        eventually(lambda: "reading balances" in logged(logs, "info"), 20, "it reads")
    assert logged(logs, "info") == ["waiting for the balance queue", "reading balances"]
    assert logged(logs, "warning") == []


def test_a_queue_that_is_not_declared_is_warned_about_once(queue: Queue, broker: Broker, engine: Engine) -> None:
    queue.channel.queue_delete(topology.BALANCE_QUEUE)
    with capture_logs() as logs, consuming(broker, Ledger(engine), queue_expected_within_s=0.0):
        eventually(lambda: logged(logs, "warning"), 20, "it warns")
        queue.declare()
        eventually(lambda: "reading balances" in logged(logs, "info"), 20, "it reads")
    assert logged(logs, "warning") == ["balance queue missing"]
