"""The newest known balance of a coin, which the next message and the next snapshot are compared with."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from persister.message import Coin

Key: TypeAlias = tuple[str, str]  # coin, account type

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Standing:
    """As of `at`, by the exchange's clock; None is an amount that the exchange did not state."""

    at: datetime
    wallet_balance: Decimal | None
    locked: Decimal | None
    equity: Decimal | None
    usd_value: Decimal | None


def standing_of(coin: Coin, at: datetime) -> Standing:
    amounts = coin.amounts
    return Standing(at, amounts["wallet_balance"], amounts["locked"], amounts["equity"], amounts["usd_value"])


def nothing_at(at: datetime) -> Standing:
    """Of a coin that the exchange no longer lists."""
    return Standing(at, ZERO, ZERO, ZERO, ZERO)
