"""A balance event as values."""

import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadMessage
from common.tables.account_balances import account_balances
from common.tables.account_margin_balances import account_margin_balances
from persister import message
from persister.message import COIN_AMOUNTS, COIN_FLAGS, available_and_frozen, read
from tests.kit import wallets
from tests.kit.wallets import understood


def only_coin(**fields: Any) -> message.Coin:
    [account] = understood(wallets.live(wallets.frame(wallets.account(wallets.coin(**fields))))).accounts
    return account.coins[0]


def written(coin: message.Coin, field: str) -> Any:
    """A field as Bybit writes it."""
    if field in COIN_FLAGS:
        return coin.flags[COIN_FLAGS[field]]
    amount = coin.amounts.get(COIN_AMOUNTS.get(field, ""))
    return coin.name if field == "coin" else "" if amount is None else f"{amount:f}"


def amounts(**given: str) -> dict[str, Decimal | None]:
    return dict.fromkeys(COIN_AMOUNTS.values()) | {name: Decimal(text) for name, text in given.items()}


@pytest.mark.parametrize("name", wallets.REAL)
def test_every_field_of_real_frames_is_kept(name: str) -> None:
    data = wallets.real(name)
    event = understood(wallets.live(data))
    assert event.text.encode() == data
    assert event.unknown == frozenset()
    for account, sent in zip(event.accounts, json.loads(data)["data"], strict=True):
        for coin, sent_coin in zip(account.coins, sent["coin"], strict=True):
            assert json.loads(coin.text) == sent_coin
            for field, value in sent_coin.items():
                assert written(coin, field) == value, field


@pytest.mark.parametrize("group", ['"0"', "0", '"12"'])
def test_an_smp_group_as_text_or_number_changes_no_amount_and_is_kept(group: str) -> None:
    data = wallets.real("private.wallet.2026.jsonl")
    inserted = data.replace(b'"accountType"', b'"smpGroup":%b,"accountType"' % group.encode())
    event, before = understood(wallets.live(inserted)), understood(wallets.live(data))
    assert event.unknown == {"account.smpGroup"}
    assert event.text.encode() == inserted
    assert event.accounts[0].amounts == before.accounts[0].amounts
    assert [coin.amounts for coin in event.accounts[0].coins] == [coin.amounts for coin in before.accounts[0].coins]


def test_a_rest_answer_is_read_like_a_frame() -> None:
    result = json.loads(wallets.document("rest.account.wallet-balance.01.body.json"))["result"]
    [account] = understood(wallets.snapshot(*result["list"])).accounts
    assert (account.type, account.amounts["total_equity"]) == ("UNIFIED", Decimal("3.31216591"))
    assert account.coins[0].amounts["spot_hedging_qty"] == Decimal("0.01592413")


def test_every_field_has_its_column() -> None:
    coin_columns = {*message.COIN_AMOUNTS.values(), *message.COIN_FLAGS.values(), *message.COIN_TEXTS.values()}
    assert coin_columns <= set(account_balances.columns.keys())
    assert set(message.ACCOUNT_AMOUNTS.values()) <= set(account_margin_balances.columns.keys())


def test_an_empty_text_and_an_absent_field_are_both_unknown() -> None:
    coin = only_coin(equity="", availableToWithdraw="")
    assert coin.amounts["equity"] is None
    assert coin.amounts["available_to_withdraw"] is None
    assert coin.amounts["bonus"] is None


@pytest.mark.parametrize(
    "written",
    ["0", "-0.00000001", "1e-8", "1E+30", "123456789012345678901234567890.0123456789", ".5", "5.", "-620.10"],
)
def test_amounts_keep_every_digit(written: str) -> None:
    assert str(only_coin(walletBalance=written).amounts["wallet_balance"]) == str(Decimal(written))


def test_numbers_are_taken_like_texts() -> None:
    data = (
        b'{"topic":"wallet","data":[{"accountType":"UNIFIED","coin":[{"coin":"BTC","walletBalance":0.10,"bonus":3}]}]}'
    )
    [account] = understood(wallets.live(data)).accounts
    assert str(account.coins[0].amounts["wallet_balance"]) == "0.10"
    assert account.coins[0].amounts["bonus"] == 3


@pytest.mark.parametrize(
    "written",
    ["a lot", "NaN", "Infinity", "1_000", "\u0663", "0x1", "1e", " 1", "1e200000", "1e-17000", True, [], {}],
)
def test_what_is_not_an_amount_is_refused(written: Any) -> None:
    with pytest.raises(BadMessage, match="USDT: walletBalance"):
        only_coin(walletBalance=written)


def test_all_accounts_and_coins_are_read_in_order() -> None:
    twice = wallets.account(wallets.coin("A"), wallets.coin("A"))
    event = understood(wallets.live(wallets.frame(twice, wallets.account(accountType="SPOT"))))
    assert [(a.number, a.type, [(c.number, c.name) for c in a.coins]) for a in event.accounts] == [
        (0, "UNIFIED", [(0, "A"), (1, "A")]),
        (1, "SPOT", []),
    ]


def test_none_and_500_coins_are_read() -> None:
    many = [wallets.coin(f"C{n}") for n in range(500)]
    for coins in ([], many):
        assert understood(wallets.live(wallets.frame(wallets.account(*coins)))).coins == len(coins)


def test_fields_without_a_column_are_named() -> None:
    body = wallets.live(wallets.frame(wallets.account(wallets.coin(shiny="1"), newTotal="2")))
    assert understood(body).unknown == {"coin.shiny", "account.newTotal"}


def test_a_flag_of_an_unexpected_type_is_left_empty_and_noted() -> None:
    coin = only_coin(collateralSwitch="perhaps", marginCollateral=1, colRes={"level": 2})
    assert coin.flags == {"collateral_switch": None, "margin_collateral": None}
    assert (coin.unclear, coin.texts) == (("collateral_switch", "margin_collateral", "col_res"), {"col_res": None})


def test_flags_and_enums_are_read_as_texts_too() -> None:
    coin = only_coin(collateralSwitch="true", marginCollateral="false", colRes=-1)
    assert coin.flags == {"collateral_switch": True, "margin_collateral": False}
    assert (coin.unclear, coin.texts) == ((), {"col_res": "-1"})
    empty = only_coin(collateralSwitch="", marginCollateral=None, colRes="")
    assert (set(empty.flags.values()), empty.unclear, empty.texts) == ({None}, (), {"col_res": None})


@pytest.mark.parametrize(
    "name", ["\u5e01\u5b89\u4eba\u751f", "A\u00a0B", "\U0001f468\u200d\U0001f467", "O'Neil\";--", " x "]
)
def test_a_coin_may_have_any_name(name: str) -> None:
    [account] = understood(wallets.live(wallets.frame(wallets.account(wallets.coin(name))))).accounts
    assert account.coins[0].name == name


@pytest.mark.parametrize("listed", [b"null", b'""', b"[]"])
def test_no_coins_may_be_written_in_any_way(listed: bytes) -> None:
    [account] = understood(wallets.live(b'{"data":[{"totalEquity":"5","coin":%s}]}' % listed)).accounts
    assert not account.coins
    assert account.amounts["total_equity"] == 5


def test_the_exchanges_time_counts_and_the_time_of_receipt_stands_in() -> None:
    received_ns = 1_774_779_352_000_123_000
    known = understood(wallets.live(wallets.frame(), received_ns=received_ns))
    assert known.at == wallets.moment(wallets.T0_MS)
    unknown = understood(wallets.live(b'{"data":[]}', at_ms=None, received_ns=received_ns))
    assert unknown.at == unknown.received_at == datetime(2026, 3, 29, 10, 15, 52, 123, UTC)


@pytest.mark.parametrize("written", [b"1774779351206", b'"1774779351206"'])
def test_the_exchanges_time_counts_however_it_is_written(written: bytes) -> None:
    event = understood(wallets.live(b'{"creationTime":%s,"data":[]}' % written, at_ms=None))
    assert event.at == event.exchange_at == wallets.moment(wallets.T0_MS)


@pytest.mark.parametrize(
    "written", [b"null", b'""', b"-1", b"1.5", b'"soon"', b"1e12", b"999999999999999", b"true", b"[]"]
)
def test_a_time_that_makes_no_sense_is_none(written: bytes) -> None:
    event = understood(wallets.live(b'{"creationTime":%s,"data":[]}' % written, at_ms=None))
    assert (event.at, event.exchange_at) == (event.received_at, None)


def test_an_impossible_time_does_not_stay_the_latest_for_good() -> None:
    received_ns, day_ms = wallets.T0_MS * 1_000_000, 86_400_000
    for ahead_ms, counts in ((day_ms, True), (day_ms + 1, False), (2_000 * day_ms, False)):
        event = understood(wallets.live(wallets.frame(), wallets.T0_MS + ahead_ms, received_ns))
        assert event.exchange_at == wallets.moment(wallets.T0_MS + ahead_ms)
        assert event.at == (event.exchange_at if counts else event.received_at)


def test_other_types_of_events_are_ignored() -> None:
    assert read(wallets.gap()) is None


@pytest.mark.parametrize(
    "data",
    [b"[]", b"{}", b'{"data":{}}', b'{"data":[1]}', b'{"data":[{"coin":{}}]}', b'{"data":[{"coin":[1]}]}',
     b'{"data":[{"coin":[{}]}]}', b'{"data":[{"coin":[{"coin":"\\u0000"}]}]}',
     b'{"data":[{"coin":[{"coin":"\\ud800"}]}]}',
     b'{"data":[{"accountType":1}]}', b'{"data":[{"totalEquity":"x"}]}'],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        read(wallets.live(data))


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(BadMessage):
        read(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["coin", "data", "accountType", "walletBalance", "x"]), inner, max_size=4)
        ),
    )
)
def test_no_message_raises_anything_else(message: Any) -> None:
    with contextlib.suppress(BadMessage):
        read(wallets.live(json.dumps(message).encode()))


@given(
    st.dictionaries(
        st.sampled_from(["id", "type", "origin", "time", "receivedtime", "data"]),
        st.sampled_from(
            [None, 1, "", "x", [], {}, [[]], "live", "bybit.balance", "2026-03-29T10:15:51Z", {"data": [1]}]
        ),
    )
)
def test_no_event_raises_anything_else(changed: dict[str, Any]) -> None:
    event = json.loads(wallets.live(wallets.frame())) | changed
    with contextlib.suppress(BadMessage):
        read(json.dumps(event).encode())


@pytest.mark.parametrize("name", wallets.REAL)
def test_the_computed_available_amount_is_what_Bybit_sent_while_it_sent_it(name: str) -> None:
    for account in understood(wallets.live(wallets.real(name))).accounts:
        for coin in account.coins:
            stated = coin.amounts["available_to_withdraw"]
            stand_in, _ = available_and_frozen(account.type, {**coin.amounts, "available_to_withdraw": None})
            assert stated is None or stand_in == stated, coin.name


@pytest.mark.parametrize(
    ("account_type", "coin", "available", "frozen"),
    [
        ("UNIFIED", amounts(wallet_balance="100", locked="10", total_order_im="5", total_position_im="20"), "65", "35"),
        ("UNIFIED", amounts(wallet_balance="100", locked="10", unrealised_pnl="-30"), "60", "10"),
        ("UNIFIED", amounts(wallet_balance="100", locked="10", unrealised_pnl="30"), "90", "10"),
        ("UNIFIED", amounts(wallet_balance="100", spot_borrow="60", locked="0"), "40", "0"),
        ("UNIFIED", amounts(wallet_balance="-5", locked="0"), "0", "0"),
        ("UNIFIED", amounts(wallet_balance="100", available_to_withdraw="7", locked="1"), "7", "1"),
        ("CONTRACT", amounts(wallet_balance="50.8516035", total_order_im="0", total_position_im="11.5640358",
                             unrealised_pnl="0.02"), "39.2875677", "11.5640358"),
        ("CONTRACT", amounts(wallet_balance="100", locked="40", total_order_im="1"), "99", "1"),
        ("SPOT", amounts(wallet_balance="100", locked="40", free="60"), "60", "40"),
        ("SPOT", amounts(wallet_balance="100", locked="40", total_order_im="9"), "60", "40"),
        ("", amounts(wallet_balance="100", locked="40"), "60", "40"),
    ],
)  # fmt: skip
def test_available_and_frozen(account_type: str, coin: message.Amounts, available: str, frozen: str) -> None:
    assert available_and_frozen(account_type, coin) == (Decimal(available), Decimal(frozen))


def test_without_amounts_nothing_is_known() -> None:
    assert available_and_frozen("UNIFIED", amounts()) == (None, None)


def test_sums_keep_every_digit() -> None:
    coin = amounts(wallet_balance="1e40", locked="1e-40", total_order_im="1")
    assert available_and_frozen("UNIFIED", coin) == (
        Decimal("9999999999999999999999999999999999999998.9999999999999999999999999999999999999999"),
        Decimal("1.0000000000000000000000000000000000000001"),
    )
