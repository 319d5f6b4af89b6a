"""Whether the exchange lists what a caller names."""

import difflib

from sqlalchemy import Connection

from common.channels import POOLED, Channel, Fault
from common.tables import instruments


def fault(connection: Connection, channel: Channel) -> Fault | None:
    """None also while the list of the category has never been looked up: the exchange will tell."""
    if channel.symbol is None or channel.channel_type in POOLED or _is_listed(connection, channel):
        return None
    names = _names(connection, channel)
    if not names:
        return None
    near = difflib.get_close_matches(channel.symbol.upper(), names, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return Fault("symbol", "unknown_symbol", f"{channel.symbol} is not listed in {channel.category}{meant}")


def _is_listed(connection: Connection, channel: Channel) -> bool:
    ask = instruments.lists_base_coin if _goes_by_coin(channel) else instruments.lists_symbol
    return ask(connection, channel.category, str(channel.symbol))


def _names(connection: Connection, channel: Channel) -> set[str]:
    ask = instruments.base_coins if _goes_by_coin(channel) else instruments.symbols
    return ask(connection, channel.category)


def _goes_by_coin(channel: Channel) -> bool:
    return (channel.channel_type, channel.category) == ("trades", "option")
