"""Whether the ledger and the exchange agree, snapshot by snapshot."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from persister.message import AccountMargin, BalanceEvent, Coin
from persister.standing import ZERO, Key, Standing

APART = timedelta(seconds=5)  # the REST answer may lag the WebSocket: one snapshot proves nothing


@dataclass(frozen=True, slots=True)
class HeldAmounts:
    """What changes only with an event; equity and the like move with the market and send nothing."""

    wallet_balance: Decimal | None
    locked: Decimal | None

    def agrees_with(self, other: "HeldAmounts") -> bool:
        """What one side does not state is not a difference."""
        pairs = ((self.wallet_balance, other.wallet_balance), (self.locked, other.locked))
        return all(None in pair or pair[0] == pair[1] for pair in pairs)


NOTHING = HeldAmounts(ZERO, ZERO)


@dataclass(frozen=True, slots=True)
class Difference:
    coin: str
    account_type: str
    ledger: HeldAmounts | None  # None: the ledger does not know the coin
    exchange: HeldAmounts
    account_no: int
    listed: Coin | None  # None: the exchange does not list the coin, so it is zero

    @property
    def key(self) -> Key:
        return self.coin, self.account_type

    @property
    def kind(self) -> str:
        if self.ledger is None:
            return "new"
        return "changed" if self.listed else "gone"


@dataclass(frozen=True, slots=True)
class Comparison:
    outcome: str  # proven, unconfirmed, drift or empty
    coins: int
    drifts: tuple[Difference, ...] = ()  # found twice: the ledger is wrong
    unconfirmed: tuple[Difference, ...] = ()  # found once: a second snapshot decides


@dataclass(frozen=True, slots=True)
class Doubt:
    since: datetime
    exchange: HeldAmounts


@dataclass(slots=True)
class Reconciliation:
    """Remembers what the last snapshots differed in; forgetting it only costs a further snapshot."""

    _doubts: dict[Key, Doubt] = field(default_factory=dict)

    def copy(self) -> "Reconciliation":
        return Reconciliation(dict(self._doubts))

    def reset(self, coins: Iterable[Key]) -> None:
        """A wallet event has these coins: what differed before counts no longer."""
        for key in coins:
            self._doubts.pop(key, None)

    def compare(self, snapshot: BalanceEvent, ledger: Mapping[Key, Standing]) -> Comparison:
        """A difference that two snapshots at least `APART` agree on is a drift."""
        if not snapshot.coins:
            return Comparison("empty", 0)
        found = list(_differences(snapshot, ledger))
        confirmed = tuple(each for each in found if self._confirmed(each, snapshot.at))
        unconfirmed = tuple(each for each in found if each not in confirmed)
        self._doubts = {each.key: self._doubt(each, snapshot.at) for each in unconfirmed}
        outcome = "drift" if confirmed else "unconfirmed" if unconfirmed else "proven"
        return Comparison(outcome, snapshot.coins, confirmed, unconfirmed)

    def _confirmed(self, difference: Difference, at: datetime) -> bool:
        doubt = self._doubts.get(difference.key)
        return doubt is not None and doubt.exchange == difference.exchange and at - doubt.since >= APART

    def _doubt(self, difference: Difference, at: datetime) -> Doubt:
        before = self._doubts.get(difference.key)
        if before is not None and before.exchange == difference.exchange and before.since <= at:
            return before
        return Doubt(at, difference.exchange)


def _differences(snapshot: BalanceEvent, ledger: Mapping[Key, Standing]) -> Iterator[Difference]:
    listed = {(coin.name, account.type): (account, coin) for account in snapshot.accounts for coin in account.coins}
    for key, (account, coin) in listed.items():
        held = HeldAmounts(coin.amounts["wallet_balance"], coin.amounts["locked"])
        yield from _difference(key, ledger.get(key), snapshot.at, held, account, coin)
    complete = {account.type: account for account in snapshot.accounts if account.coins}
    for key in ledger.keys() - listed.keys():
        if key[1] in complete:
            yield from _difference(key, ledger[key], snapshot.at, NOTHING, complete[key[1]], None)


def _difference(
    key: Key, known: Standing | None, at: datetime, held: HeldAmounts, account: AccountMargin, listed: Coin | None
) -> Iterator[Difference]:
    if known is not None and known.at > at:
        return  # the ledger has a younger event
    before = HeldAmounts(known.wallet_balance, known.locked) if known else None
    if not (before or NOTHING).agrees_with(held):
        yield Difference(*key, before, held, account.number, listed)
