"""Whether the exchange lists what a caller names."""

import difflib
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf

from sqlalchemy import Connection

from common.channels import POOLED, Channel, Fault
from common.tables import instruments

_MAX_SUGGESTIONS = 10  # each compares a name with the whole list
_MAX_REMEMBERED = 20_000
REMEMBERED_S = 60.0
NEVER_LOADED_S = 1.0  # short, because the ingestor may be loading the list right now

Name = tuple[str, bool, str]  # category, by base coin, symbol


class InstrumentCheck:
    """Looks symbols up in the table of instruments; a listed one is remembered for a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._listed: dict[Name, float] = {}
        self._never_loaded: dict[tuple[str, bool], float] = {}

    def faults(self, connection: Connection, channels: Iterable[Channel]) -> dict[Channel, Fault]:
        """A fault for each channel that is not listed; none as long as the list of its category was never loaded."""
        named: dict[tuple[str, bool], list[Channel]] = defaultdict(list)
        for channel in channels:
            if channel.symbol is not None and channel.channel_type not in POOLED and not self._remembers(channel):
                named[channel.category, _goes_by_coin(channel)].append(channel)
        found: dict[Channel, Fault] = {}
        for (category, by_coin), mine in named.items():
            if self._clock() - self._never_loaded.get((category, by_coin), -inf) >= NEVER_LOADED_S:
                found |= self._faults(connection, category, mine, by_coin=by_coin)
        return found

    def _faults(
        self, connection: Connection, category: str, channels: Sequence[Channel], *, by_coin: bool
    ) -> dict[Channel, Fault]:
        listed = instruments.listed(connection, category, {str(each.symbol) for each in channels}, by_base_coin=by_coin)
        self._remember((category, by_coin, symbol) for symbol in listed)
        missing = [each for each in channels if each.symbol not in listed]
        if not missing:
            return {}
        names = (instruments.base_coins if by_coin else instruments.symbols)(connection, category)
        if not names:
            self._never_loaded[category, by_coin] = self._clock()
            return {}
        suggested_from = (names if place < _MAX_SUGGESTIONS else () for place in range(len(missing)))
        return {channel: _fault(channel, known) for channel, known in zip(missing, suggested_from, strict=True)}

    def _remembers(self, channel: Channel) -> bool:
        found_at = self._listed.get((channel.category, _goes_by_coin(channel), str(channel.symbol)))
        return found_at is not None and self._clock() - found_at < REMEMBERED_S

    def _remember(self, names: Iterable[Name]) -> None:
        if len(self._listed) > _MAX_REMEMBERED:
            self._listed = {}
        self._listed |= dict.fromkeys(names, self._clock())


def _fault(channel: Channel, names: Collection[str]) -> Fault:
    """With the most similar of the names, if there is a similar one."""
    near = difflib.get_close_matches(str(channel.symbol).upper(), names, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return Fault("symbol", "unknown_symbol", f"{channel.symbol} is not listed in {channel.category}{meant}")


def _goes_by_coin(channel: Channel) -> bool:
    return instruments.goes_by_coin(channel.channel_type, channel.category)
