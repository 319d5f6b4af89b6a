"""Checks for balances that look inconsistent. Such a balance is stored and flagged."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from persister.message import EXACTLY, AccountMargin, Amounts, BalanceEvent, Coin
from persister.standing import ZERO, Standing

_NEVER_NEGATIVE = (
    "locked",
    "spot_hedging_qty",
    "bonus",
    "borrow_amount",
    "spot_borrow",
    "accrued_interest",
    "total_order_im",
    "total_position_im",
    "total_position_mm",
    "available_to_withdraw",
    "available_to_borrow",
    "free",
)
_NEVER_NEGATIVE_TOTALS = (
    "total_initial_margin",
    "total_maintenance_margin",
    "total_initial_margin_by_mp",
    "total_maintenance_margin_by_mp",
    "account_im_rate",
    "account_mm_rate",
    "account_im_rate_by_mp",
    "account_mm_rate_by_mp",
    "account_ltv",
)
_ROUNDING = Decimal("0.0000001")  # Bybit rounds to 8 decimals, each term for itself
_ROUNDING_SHARE = Decimal("0.000001")  # and coins of very large numbers to fewer
_TENFOLD = 10
_SMALL_USD = Decimal(100)  # what is worth less may jump
_FUTURE = timedelta(minutes=1)  # how far the exchange's clock may be ahead of ours


def of_coin(coin: Coin, event: BalanceEvent, before: Standing | None) -> tuple[str, ...]:
    """The names of the checks that the coin fails; `before` is its newest balance until now."""
    return (*_coin_failures(coin, event.at, before), *_time_failures(event))


def of_account(account: AccountMargin, event: BalanceEvent) -> tuple[str, ...]:
    """The names of the checks that the account's totals fail."""
    return (*_account_failures(account), *_time_failures(event))


def _coin_failures(coin: Coin, at: datetime, before: Standing | None) -> Iterator[str]:
    amounts = coin.amounts
    if amounts["wallet_balance"] is None:
        yield "missing:wallet_balance"
    yield from _negative(amounts, _NEVER_NEGATIVE)
    if _below_zero(amounts["wallet_balance"]) and amounts["borrow_amount"] == ZERO:
        yield "sign:wallet_balance"  # a debt that nothing was borrowed for
    if _equity_is_off(amounts):
        yield "sum:equity"
    if before is not None and at >= before.at and _jumped(amounts, before):
        yield "jump:wallet_balance"
    yield from (f"type:{column}" for column in coin.unclear)


def _account_failures(account: AccountMargin) -> Iterator[str]:
    yield from _negative(account.amounts, _NEVER_NEGATIVE_TOTALS)
    amounts = account.amounts
    margin, wallet = amounts["total_margin_balance"], amounts["total_wallet_balance"]
    expected = None if wallet is None else EXACTLY.add(wallet, amounts["total_perp_upl"] or ZERO)
    if margin is not None and expected is not None and _differ(expected, margin):
        yield "sum:total_margin_balance"


def _negative(amounts: Amounts, names: tuple[str, ...]) -> Iterator[str]:
    yield from (f"sign:{name}" for name in names if (amount := amounts[name]) is not None and amount < 0)


def _below_zero(amount: Decimal | None) -> bool:
    return amount is not None and amount < 0


def _equity_is_off(amounts: Amounts) -> bool:
    """The equity of a coin includes options, whose value is in no field: with options this check fails."""
    equity, owned = amounts["equity"], amounts["wallet_balance"]
    if equity is None or owned is None:
        return False
    terms = EXACTLY.subtract(owned, amounts["spot_borrow"] or ZERO)
    return _differ(EXACTLY.add(terms, amounts["unrealised_pnl"] or ZERO), equity)


def _differ(one: Decimal, other: Decimal) -> bool:
    if one == other:
        return False
    allowed = max(_ROUNDING, EXACTLY.multiply(max(abs(one), abs(other)), _ROUNDING_SHARE))
    return abs(EXACTLY.subtract(one, other)) > allowed


def _jumped(amounts: Amounts, before: Standing) -> bool:
    """Tenfold, a tenth, or the other sign; from zero to an amount is how each coin begins."""
    now, then = amounts["wallet_balance"], before.wallet_balance
    if now is None or not then or now == then:
        return False
    small, large = sorted((abs(now), abs(then)))
    if now * then > 0 and large <= small * _TENFOLD:
        return False
    worth = max(_worth(now, amounts["equity"], amounts["usd_value"]), _worth(then, before.equity, before.usd_value))
    return worth >= _SMALL_USD


def _worth(amount: Decimal, equity: Decimal | None, usd_value: Decimal | None) -> Decimal:
    """In USD, at the price that equity and usdValue imply; without a price no amount counts as small."""
    if not equity or not usd_value:
        return _SMALL_USD if amount else ZERO
    return abs(amount * usd_value / equity)


def _time_failures(event: BalanceEvent) -> Iterator[str]:
    if event.exchange_at is None:
        yield "time:missing"
    elif event.exchange_at > event.received_at + _FUTURE:
        yield "time:ahead"
