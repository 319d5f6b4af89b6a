"""The newest known balance of a coin."""

from decimal import Decimal

from persister.standing import Standing, nothing_at, standing_of
from tests.kit import wallets
from tests.kit.wallets import T0_MS, moment, understood


def test_it_has_the_amounts_that_checks_and_snapshots_are_compared_with():
    coin = wallets.coin(walletBalance="1", locked="2", equity="3", usdValue="4")
    event = understood(wallets.live(wallets.frame(wallets.account(coin))))
    standing = standing_of(event.accounts[0].coins[0], event.at)
    assert standing == Standing(moment(T0_MS), Decimal(1), Decimal(2), Decimal(3), Decimal(4))


def test_a_coin_that_is_no_longer_listed_has_nothing():
    assert nothing_at(moment(5)) == Standing(moment(5), Decimal(0), Decimal(0), Decimal(0), Decimal(0))
