"""Whether the exchange lists what a caller names."""

import difflib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import inf

from sqlalchemy import Connection

from common.channels import POOLED, Channel, Fault
from common.tables import instruments

_MOST_SUGGESTIONS = 10  # each compares a name with the whole list
_MOST_REMEMBERED = 20_000
REMEMBERED_S = 60.0
NEVER_LOADED_S = 1.0  # short, because the ingestor may be loading it just now

Name = tuple[str, bool, str]  # category, by base coin, symbol


class InstrumentCheck:
    """Asks the table of instruments; that something is listed holds for a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._listed: dict[Name, float] = {}
        self._never_loaded: dict[tuple[str, bool], float] = {}

    def faults(self, connection: Connection, channels: Iterable[Channel]) -> dict[Channel, Fault]:
        """Those that are not listed; none while the list of their category has never been looked up."""
        named: dict[tuple[str, bool], list[Channel]] = defaultdict(list)
        for channel in channels:
            if channel.symbol is not None and channel.channel_type not in POOLED and not self._remembers(channel):
                named[channel.category, _goes_by_coin(channel)].append(channel)
        found: dict[Channel, Fault] = {}
        for (category, by_coin), mine in named.items():
            if self._clock() - self._never_loaded.get((category, by_coin), -inf) >= NEVER_LOADED_S:
                found |= self._faults(connection, category, by_coin, mine)
        return found

    def _faults(
        self, connection: Connection, category: str, by_coin: bool, channels: Sequence[Channel]
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
        return {channel: _fault(channel, names, place < _MOST_SUGGESTIONS) for place, channel in enumerate(missing)}

    def _remembers(self, channel: Channel) -> bool:
        seen_at = self._listed.get((channel.category, _goes_by_coin(channel), str(channel.symbol)))
        return seen_at is not None and self._clock() - seen_at < REMEMBERED_S

    def _remember(self, names: Iterable[Name]) -> None:
        if len(self._listed) > _MOST_REMEMBERED:
            self._listed = {}
        self._listed |= dict.fromkeys(names, self._clock())


def _fault(channel: Channel, names: set[str], suggest: bool) -> Fault:
    near = difflib.get_close_matches(str(channel.symbol).upper(), names, n=1) if suggest else []
    meant = f"; did you mean {near[0]}?" if near else ""
    return Fault("symbol", "unknown_symbol", f"{channel.symbol} is not listed in {channel.category}{meant}")


def _goes_by_coin(channel: Channel) -> bool:
    return instruments.goes_by_coin(channel.channel_type, channel.category)
