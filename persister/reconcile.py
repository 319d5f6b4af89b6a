"""Whether the ledger and the exchange agree, told snapshot by snapshot."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from persister.checks import ZERO, Standing
from persister.message import Account, Balances, Coin

APART = timedelta(seconds=5)  # the REST answer may lag the socket: one look proves nothing

Key: TypeAlias = tuple[str, str]  # coin, account type


@dataclass(frozen=True, slots=True)
class Held:
    """What no event may change behind our back; equity and the like move with the market and send nothing."""

    wallet_balance: Decimal | None
    locked: Decimal | None

    def agrees_with(self, other: "Held") -> bool:
        """What one side does not tell is no difference."""
        pairs = ((self.wallet_balance, other.wallet_balance), (self.locked, other.locked))
        return all(None in pair or pair[0] == pair[1] for pair in pairs)


NOTHING = Held(ZERO, ZERO)


@dataclass(frozen=True, slots=True)
class Difference:
    coin: str
    account_type: str
    ledger: Held | None  # None: the ledger has never heard of the coin
    exchange: Held
    account_no: int
    told: Coin | None  # None: the exchange does not list the coin, so it is zero

    @property
    def key(self) -> Key:
        return self.coin, self.account_type

    @property
    def kind(self) -> str:
        if self.ledger is None:
            return "new"
        return "changed" if self.told else "gone"


@dataclass(frozen=True, slots=True)
class Comparison:
    outcome: str  # proven, unconfirmed, drift or empty
    coins: int
    drifts: tuple[Difference, ...] = ()  # seen twice: the ledger is wrong
    unconfirmed: tuple[Difference, ...] = ()  # seen once: look again


@dataclass(frozen=True, slots=True)
class Doubt:
    since: datetime
    exchange: Held


@dataclass(slots=True)
class Audit:
    """Remembers what the last snapshots differed in; forgetting it only costs a further look."""

    _doubts: dict[Key, Doubt] = field(default_factory=dict)

    def copy(self) -> "Audit":
        return Audit(dict(self._doubts))

    def heard_of(self, coins: Iterable[Key]) -> None:
        """A wallet event told of these: what differed before counts no longer."""
        for key in coins:
            self._doubts.pop(key, None)

    def compare(self, snapshot: Balances, ledger: Mapping[Key, Standing]) -> Comparison:
        if not snapshot.coins:
            return Comparison("empty", 0)
        found = list(_differences(snapshot, ledger))
        confirmed = tuple(each for each in found if self._confirmed(each, snapshot.at))
        open_ = tuple(each for each in found if each not in confirmed)
        self._doubts = {each.key: self._doubt(each, snapshot.at) for each in open_}
        outcome = "drift" if confirmed else "unconfirmed" if open_ else "proven"
        return Comparison(outcome, snapshot.coins, confirmed, open_)

    def _confirmed(self, difference: Difference, at: datetime) -> bool:
        doubt = self._doubts.get(difference.key)
        return doubt is not None and doubt.exchange == difference.exchange and at - doubt.since >= APART

    def _doubt(self, difference: Difference, at: datetime) -> Doubt:
        before = self._doubts.get(difference.key)
        if before is not None and before.exchange == difference.exchange and before.since <= at:
            return before
        return Doubt(at, difference.exchange)


def standing_of(coin: Coin, at: datetime) -> Standing:
    amounts = coin.amounts
    return Standing(at, amounts["wallet_balance"], amounts["locked"], amounts["equity"], amounts["usd_value"])


def _differences(snapshot: Balances, ledger: Mapping[Key, Standing]) -> Iterator[Difference]:
    listed = {(coin.name, account.type): (account, coin) for account in snapshot.accounts for coin in account.coins}
    for key, (account, coin) in listed.items():
        held = Held(coin.amounts["wallet_balance"], coin.amounts["locked"])
        yield from _difference(key, ledger.get(key), snapshot.at, held, account, coin)
    whole = {account.type: account for account in snapshot.accounts if account.coins}
    for key in ledger.keys() - listed.keys():
        if key[1] in whole:
            yield from _difference(key, ledger[key], snapshot.at, NOTHING, whole[key[1]], None)


def _difference(
    key: Key, known: Standing | None, at: datetime, held: Held, account: Account, told: Coin | None
) -> Iterator[Difference]:
    if known is not None and known.at > at:
        return  # the ledger has heard of it since
    before = Held(known.wallet_balance, known.locked) if known else None
    if not (before or NOTHING).agrees_with(held):
        yield Difference(*key, before, held, account.number, told)
