"""Tells the ingestor to look at Postgres again, as well as it can be told."""

from typing import Protocol

from common.control import Poke


class Poker(Protocol):
    """Never waits and never fails: the ingestor looks by itself every few seconds."""

    def poke(self, poke: Poke) -> None: ...
