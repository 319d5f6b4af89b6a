"""What looks inconsistent in a balance."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from persister import checks
from persister.checks import Standing
from tests import wallets
from tests.wallets import T0_MS, moment, understood

NOW = moment(T0_MS)


def failed(before: Standing | None = None, **fields: Any) -> tuple[str, ...]:
    [account] = understood(wallets.live(wallets.frame(wallets.account(wallets.coin(**fields))))).accounts
    return checks.of_coin(account.coins[0], NOW, NOW, before)


def stood(at: int, amount: str = "100", equity: str = "100", usd_value: str = "100000") -> Standing:
    return Standing(moment(at), Decimal(amount), Decimal(0), Decimal(equity), Decimal(usd_value))


@pytest.mark.parametrize("name", ["private.wallet.2026.jsonl", "private.wallet.2023.jsonl"])
def test_real_frames_pass(name: str) -> None:
    for account in understood(wallets.live(wallets.real(name))).accounts:
        assert checks.of_account(account, NOW, NOW) == ()
        assert [checks.of_coin(coin, NOW, NOW, None) for coin in account.coins if coin] == [()] * len(account.coins)


def test_the_value_of_options_shows_as_a_sum_that_is_off() -> None:
    [account] = understood(wallets.live(wallets.real("private.wallet.docs.2022.jsonl"))).accounts
    flagged = {coin.name: checks.of_coin(coin, NOW, NOW, None) for coin in account.coins}
    assert {name: found for name, found in flagged.items() if found} == {"USDC": ("sum:equity",)}
    assert checks.of_account(account, NOW, NOW) == ()


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


def test_a_message_from_the_future_is_flagged() -> None:
    [account] = understood(wallets.live(wallets.frame(wallets.account(wallets.coin())))).accounts
    ahead = NOW + timedelta(seconds=61)
    assert checks.of_coin(account.coins[0], ahead, NOW, None) == ("time:ahead",)
    assert checks.of_account(account, ahead, NOW) == ("time:ahead",)


def test_totals_are_checked_too() -> None:
    totals = {"totalMarginBalance": "99", "totalWalletBalance": "100", "totalPerpUPL": "-1"}
    for more, found in (({}, ()), ({"totalPerpUPL": "-2"}, ("sum:total_margin_balance",)),
                        ({"accountIMRate": "-1"}, ("sign:account_im_rate",))):  # fmt: skip
        [account] = understood(wallets.live(wallets.frame(wallets.account(**{**totals, **more})))).accounts
        assert checks.of_account(account, NOW, NOW) == found


def test_extreme_numbers_are_compared_like_others() -> None:
    assert failed(stood(T0_MS - 1, "1e131000"), walletBalance="1e-16000", equity="1e131000") == (
        "sum:equity",
        "jump:wallet_balance",
    )
