"""How long a topic may be silent before it is late."""

from dataclasses import dataclass

_FLOOR_S = 10.0
_KLINE_FLOOR_S = 70.0  # pushed every 1-60 s (websocket/public/kline)
_FACTOR = 20.0
_MOST_DOUBLINGS = 6
_CEILING_S = {
    "orderbook": 30.0,  # level 1 repeats every 3 s, deeper books push on every change; quiet perpetuals 3-5 s
    "ticker": 60.0,
    "price_limit": 60.0,  # 300 ms when it changes
    "kline": 150.0,  # 1-60 s while it changes
}
"""Channel types that are never silent for long; the others may be, for hours (trades, liquidations, private)."""


@dataclass(slots=True)
class Cadence:
    """One topic's own pace: it is late when it is silent for far longer than ever before.

    All times are monotonic, in seconds.
    """

    ceiling_s: float | None  # None: never late
    floor_s: float = _FLOOR_S  # never late before, however quick its pushes were
    longest_s: float = 0.0  # between two pushes
    last_at: float | None = None  # of the latest push or subscription
    misses: int = 0  # in a row

    def heard(self, now: float) -> None:
        """There was a push."""
        self.misses = 0
        if self.last_at is not None:
            self.longest_s = max(self.longest_s, now - self.last_at)
        self.last_at = now

    def restart(self, now: float) -> None:
        """There is a new subscription: the silence before it does not count."""
        self.last_at = now

    def is_late(self, now: float) -> bool:
        if self.ceiling_s is None or self.last_at is None:
            return False
        patience = 2.0 ** min(_MOST_DOUBLINGS, self.misses)
        return now - self.last_at > patience * min(self.ceiling_s, max(self.floor_s, _FACTOR * self.longest_s))

    def missed_again(self) -> bool:
        """It is late. Every second time in a row, which no new subscription ended, this is True.

        It gets twice as long the next time: a market that stands still is not worth a new connection every few seconds.
        """
        self.misses += 1
        return self.misses % 2 == 0


def cadence_of(channel_type: str) -> Cadence:
    floor_s = _KLINE_FLOOR_S if channel_type == "kline" else _FLOOR_S
    return Cadence(_CEILING_S.get(channel_type), floor_s)
