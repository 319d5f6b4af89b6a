"""What looks inconsistent in a balance."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from persister import checks
from persister.standing import Standing
from tests.kit import wallets
from tests.kit.wallets import T0_MS, moment, understood

NOW = moment(T0_MS)


def failed(before: Standing | None = None, **fields: Any) -> tuple[str, ...]:
    event = understood(wallets.live(wallets.frame(wallets.account(wallets.coin(**fields)))))
    return checks.of_coin(event.accounts[0].coins[0], event, before)


def stood(at: int, amount: str = "100", equity: str = "100", usd_value: str = "100000") -> Standing:
    return Standing(moment(at), Decimal(amount), Decimal(0), Decimal(equity), Decimal(usd_value))


@pytest.mark.parametrize("name", ["private.wallet.2026.jsonl", "private.wallet.2023.jsonl"])
def test_real_frames_pass(name: str) -> None:
    event = understood(wallets.live(wallets.real(name)))
    for account in event.accounts:
        assert checks.of_account(account, event) == ()
        assert [checks.of_coin(coin, event, None) for coin in account.coins if coin] == [()] * len(account.coins)


def test_the_value_of_options_shows_as_a_sum_that_is_off() -> None:
    event = understood(wallets.live(wallets.real("private.wallet.docs.2022.jsonl")))
    [account] = event.accounts
    flagged = {coin.name: checks.of_coin(coin, event, None) for coin in account.coins}
    assert {name: found for name, found in flagged.items() if found} == {"USDC": ("sum:equity",)}
    assert checks.of_account(account, event) == ()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"equity": "98", "unrealisedPnl": "-2"}, ()),
        ({"equity": "98", "unrealisedPnl": "-3"}, ("sum:equity",)),
        ({"equity": "60", "spotBorrow": "40"}, ()),
        ({"equity": "100.00000001"}, ()),
        ({"equity": ""}, ()),
        ({"locked": "-0.1"}, ("sign:locked",)),
        ({"walletBalance": "-1", "borrowAmount": "1"}, ()),
        ({"walletBalance": "-1", "borrowAmount": ""}, ()),
        ({"walletBalance": "-1", "borrowAmount": "0"}, ("sign:wallet_balance",)),
        ({"walletBalance": ""}, ("missing:wallet_balance",)),
        ({"collateralSwitch": "yes"}, ("type:collateral_switch",)),
    ],
)
def test_one_message_against_itself(fields: dict[str, Any], found: tuple[str, ...]) -> None:
    assert failed(**fields) == found


@pytest.mark.parametrize(
    ("before", "now", "jumps"),
    [
        ("100", "1000", False),
        ("100", "1000.01", True),
        ("100", "10", False),
        ("100", "9.99", True),
        ("100", "0", True),
        ("100", "-100", True),
        ("0", "100000", False),
        ("100", "100", False),
    ],
)
def test_a_jump_is_tenfold_or_to_the_other_side(before: str, now: str, jumps: bool) -> None:
    found = failed(stood(T0_MS - 1, before), walletBalance=now)
    assert ("jump:wallet_balance" in found) == jumps


def test_small_money_may_jump() -> None:
    assert failed(stood(T0_MS - 1, "1", "1", "0.001"), walletBalance="0") == ()
    assert failed(stood(T0_MS - 1, "1", "1", "0.001"), walletBalance="200000", equity="200000", usdValue="200") == (
        "jump:wallet_balance",
    )


def test_money_without_a_price_does_not_count_as_small() -> None:
    assert failed(stood(T0_MS - 1, "1", "1", "0"), walletBalance="0") == ("jump:wallet_balance",)


def test_an_older_message_is_not_compared_with_a_younger_balance() -> None:
    assert failed(stood(T0_MS + 1, "1")) == ()


@pytest.mark.parametrize(("ahead_s", "found"), [(60, ()), (61, ("time:ahead",)), (10**9, ("time:ahead",))])
def test_a_message_from_the_future_is_flagged(ahead_s: int, found: tuple[str, ...]) -> None:
    read_at = NOW - timedelta(seconds=ahead_s)
    body = wallets.live(wallets.frame(wallets.account(wallets.coin())), received_ns=int(read_at.timestamp()) * 10**9)
    event = understood(body.replace(b"T10:15:51.206Z", b"T10:15:51.000Z", 1))
    assert checks.of_coin(event.accounts[0].coins[0], event, None) == found
    assert checks.of_account(event.accounts[0], event) == found


def test_a_message_without_a_time_is_flagged() -> None:
    event = understood(wallets.live(b'{"data":[{"coin":[{"coin":"BTC","walletBalance":"1"}]}]}', at_ms=None))
    assert checks.of_coin(event.accounts[0].coins[0], event, None) == ("time:missing",)


def test_totals_are_checked_too() -> None:
    totals = {"totalMarginBalance": "99", "totalWalletBalance": "100", "totalPerpUPL": "-1"}
    for more, found in (({}, ()), ({"totalPerpUPL": "-2"}, ("sum:total_margin_balance",)),
                        ({"accountIMRate": "-1"}, ("sign:account_im_rate",))):  # fmt: skip
        event = understood(wallets.live(wallets.frame(wallets.account(**{**totals, **more}))))
        assert checks.of_account(event.accounts[0], event) == found


def test_extreme_numbers_are_compared_like_others() -> None:
    assert failed(stood(T0_MS - 1, "1e131000"), walletBalance="1e-16000", equity="1e131000") == (
        "sum:equity",
        "jump:wallet_balance",
    )
