"""Whether the exchange lists what a caller names."""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from common.channels import POOLED, Channel, Fault
from common.tables import instruments

_MOST_SUGGESTIONS = 10  # each compares a name with the whole list


def faults(connection: Connection, channels: Iterable[Channel]) -> dict[Channel, Fault]:
    """Those that are not listed; none while the list of their category has never been looked up."""
    named: dict[tuple[str, bool], list[Channel]] = defaultdict(list)
    for channel in channels:
        if channel.symbol is not None and channel.channel_type not in POOLED:
            named[channel.category, _goes_by_coin(channel)].append(channel)
    found: dict[Channel, Fault] = {}
    for (category, by_coin), mine in named.items():
        found |= _faults(connection, category, by_coin, mine)
    return found


def _faults(connection: Connection, category: str, by_coin: bool, channels: Sequence[Channel]) -> dict[Channel, Fault]:
    symbols = {str(channel.symbol) for channel in channels}
    listed = instruments.listed(connection, category, symbols, by_coin)
    if symbols <= listed:
        return {}
    names = (instruments.base_coins if by_coin else instruments.symbols)(connection, category)
    if not names:
        return {}
    missing = [channel for channel in channels if channel.symbol not in listed]
    return {channel: _fault(channel, names, place < _MOST_SUGGESTIONS) for place, channel in enumerate(missing)}


def _fault(channel: Channel, names: set[str], suggest: bool) -> Fault:
    near = difflib.get_close_matches(str(channel.symbol).upper(), names, n=1) if suggest else []
    meant = f"; did you mean {near[0]}?" if near else ""
    return Fault("symbol", "unknown_symbol", f"{channel.symbol} is not listed in {channel.category}{meant}")


def _goes_by_coin(channel: Channel) -> bool:
    return (channel.channel_type, channel.category) == ("trades", "option")
