"""Comparing with the exchange on demand: the api requests, the ingestor fetches, the persister compares."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from api.services.long_poll import MAX_WAITING
from common.tables import balance_syncs
from tests.contract.balances.conftest import Notifications
from tests.kit import wallets
from tests.kit.waiting import eventually
from tests.kit.wallets import T0_MS

PATH = "/api/v1/balances/sync"
Write = Callable[..., None]


class Exchange:
    """The ingestor's part: fetches the snapshots that are requested."""

    def __init__(self, engine: Engine, write: Write) -> None:
        self._engine = engine
        self._write = write
        self.looks = 0

    def look(self, *coins: dict[str, Any], seconds_later: int = 0) -> None:
        """The next snapshot that is waited for."""
        with self._engine.begin() as connection:
            syncs = eventually(lambda: balance_syncs.waiting(connection), 5, "a request waits")
            body = wallets.snapshot(wallets.account(*coins), at_ms=T0_MS + 1000 * seconds_later)
            balance_syncs.fetched(connection, [sync.id for sync in syncs], wallets.understood(body).id)
        self._write(body)
        self.looks += 1


@pytest.fixture
def exchange(engine: Engine, write: Write) -> Exchange:
    return Exchange(engine, write)


@pytest.fixture
def request_sync(client: FlaskClient) -> Iterator[Callable[[], "Future[TestResponse]"]]:
    with ThreadPoolExecutor(4) as pool:
        yield lambda: pool.submit(client.post, PATH)


def done(future: "Future[TestResponse]") -> dict[str, Any]:
    answer = future.result(15)
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    found: dict[str, Any] = answer.json
    return found


def last_audit(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(
            connection.exec_driver_sql("SELECT outcome FROM balance_audits ORDER BY id DESC LIMIT 1").scalar_one()
        )


RequestSync = Callable[[], "Future[TestResponse]"]


def test_a_ledger_that_agrees_is_proven_by_one_look(
    request_sync: RequestSync, exchange: Exchange, write: Write, notifications: Notifications
) -> None:
    write(wallets.live(wallets.frame(wallets.account(wallets.coin(walletBalance="5")))))
    answer = request_sync()
    exchange.look(wallets.coin(walletBalance="5.00"), seconds_later=1)
    found = done(answer)
    assert (found["outcome"], found["coins"], found["changes"]) == ("proven", 1, [])
    assert len(notifications) == 1


def test_what_two_looks_agree_on_is_corrected_and_reported(
    request_sync: RequestSync, exchange: Exchange, write: Write, client: FlaskClient
) -> None:
    write(wallets.live(wallets.frame(wallets.account(wallets.coin(walletBalance="5"), wallets.coin("BTC")))))
    answer = request_sync()
    exchange.look(wallets.coin(walletBalance="7"), seconds_later=1)
    exchange.look(wallets.coin(walletBalance="7"), seconds_later=6)
    found = done(answer)
    assert found["outcome"] == "drift"
    assert {change["coin"]: (change["kind"], change["ledger"], change["exchange"]) for change in found["changes"]} == {
        "USDT": ("changed", {"wallet_balance": "5", "locked": "0"}, {"wallet_balance": "7", "locked": "0"}),
        "BTC": ("gone", {"wallet_balance": "100", "locked": "0"}, {"wallet_balance": "0", "locked": "0"}),
    }
    assert client.get(f"{PATH}/{found['id']}").json == found
    shown = client.get("/api/v1/balances").json
    assert shown is not None
    assert [(item["coin"], item["wallet_balance"], item["origin"]) for item in shown["items"]] == [
        ("BTC", "0", "snapshot"),
        ("USDT", "7", "snapshot"),
    ]


def test_a_balance_that_changes_between_two_looks_does_not_delay_the_answer(
    request_sync: RequestSync, exchange: Exchange, write: Write, engine: Engine
) -> None:
    write(wallets.live(wallets.frame(wallets.account(wallets.coin("MNT"), wallets.coin()))))
    first, second, third = (
        (wallets.coin("MNT", walletBalance=mnt), wallets.coin(walletBalance=usdt))
        for mnt, usdt in (("7", "1"), ("7", "2"), ("7", "2"))
    )
    answer = request_sync()
    exchange.look(*first, seconds_later=1)
    exchange.look(*second, seconds_later=7)
    found = done(answer)
    assert (found["outcome"], [change["coin"] for change in found["changes"]]) == ("drift", ["MNT"])
    exchange.look(*third, seconds_later=13)
    assert last_audit(engine) == "drift", "the persister's own look has settled the rest"


def test_a_correction_is_looked_at_once_more(exchange: Exchange, write: Write, engine: Engine) -> None:
    write(wallets.snapshot(wallets.account(wallets.coin())))
    exchange.look(wallets.coin(), seconds_later=6)
    assert last_audit(engine) == "drift"
    exchange.look(wallets.coin(), seconds_later=12)
    assert last_audit(engine) == "proven"
    with engine.connect() as connection:
        assert balance_syncs.waiting(connection) == []


def test_what_two_looks_do_not_agree_on_is_unconfirmed(
    request_sync: RequestSync, exchange: Exchange, write: Write
) -> None:
    write(wallets.live(wallets.frame(wallets.account(wallets.coin(walletBalance="5")))))
    answer = request_sync()
    exchange.look(wallets.coin(walletBalance="6"), seconds_later=1)
    exchange.look(wallets.coin(walletBalance="7"), seconds_later=7)
    found = done(answer)
    assert (found["outcome"], found["coins"], found["changes"]) == ("unconfirmed", 1, [])


def test_several_that_wait_share_one_look(
    request_sync: RequestSync, exchange: Exchange, notifications: Notifications
) -> None:
    answers = [request_sync(), request_sync()]
    eventually(lambda: len(notifications) == 2, 5, "both are stored")
    exchange.look(wallets.coin(walletBalance="0"), seconds_later=1)
    assert {done(answer)["outcome"] for answer in answers} == {"proven"}
    assert exchange.looks == 1


def test_an_error_of_the_exchange_is_reported(request_sync: RequestSync, engine: Engine) -> None:
    answer = request_sync()
    with engine.begin() as connection:
        [sync] = eventually(lambda: balance_syncs.waiting(connection), 5, "a request waits")
        balance_syncs.failed(connection, [sync.id], "10003 API key is invalid")
    found = answer.result(15)
    assert (found.status_code, found.json and found.json["code"]) == (502, "exchange_failed")
    assert "10003 API key is invalid" in found.text


def test_more_than_a_few_do_not_wait(
    request_sync: RequestSync, client: FlaskClient, notifications: Notifications, engine: Engine
) -> None:
    subscription = {"channel_type": "trades", "symbol": "BTCUSDT", "requesting_service": "model"}
    waiting = [request_sync() for _ in range(MAX_WAITING)]  # all slots of this process, whatever they wait for
    eventually(lambda: len(notifications) == MAX_WAITING, 5, "they wait")
    hurried = client.post("/api/v1/subscriptions", json=subscription, headers={"Prefer": "wait=10"})
    assert (hurried.status_code, hurried.headers.get("Preference-Applied")) == (201, None)
    later = client.post(PATH)
    assert (later.status_code, later.json and later.json["outcome"]) == (202, "pending")
    with engine.begin() as connection:
        balance_syncs.failed(connection, [sync.id for sync in balance_syncs.waiting(connection)], "enough")
    assert {answer.result(15).status_code for answer in waiting} == {502}


def test_an_unknown_comparison_is_not_found(client: FlaskClient) -> None:
    assert client.get(f"{PATH}/00000000-0000-4000-8000-000000000000").status_code == 404


def test_a_second_look_comes_five_seconds_after_the_first(
    engine: Engine, exchange: Exchange, request_sync: RequestSync
) -> None:
    answer = request_sync()
    exchange.look(wallets.coin(), seconds_later=1)
    with engine.begin() as connection:
        [sync] = balance_syncs.waiting(connection)
        row = balance_syncs.one(connection, sync.id)
        assert row is not None
        assert timedelta(seconds=5) < row.due_at - row.requested_at < timedelta(seconds=60)
        balance_syncs.failed(connection, [sync.id], "enough")
    answer.result(15)


def test_a_difference_that_no_request_found_gets_one_second_look(engine: Engine, write: Write) -> None:
    snapshot = wallets.account(wallets.coin())
    write(wallets.snapshot(snapshot, at_ms=T0_MS), wallets.snapshot(snapshot, at_ms=T0_MS + 1000))
    with engine.begin() as connection:
        [sync] = balance_syncs.waiting(connection)
        row = balance_syncs.one(connection, sync.id)
        assert row is not None
        assert timedelta(seconds=5) < row.due_at - row.requested_at < timedelta(seconds=6)
