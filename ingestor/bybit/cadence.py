"""How long a topic may be quiet before it is late."""

from dataclasses import dataclass

_FLOOR_S = 10.0
_TIMES = 20.0
_MOST_PATIENCE = 64.0
_CEILING_S = {
    "orderbook": 30.0,  # level 1 repeats every 3 s, deeper books push on every change; quiet perpetuals 3-5 s
    "ticker": 60.0,
    "price_limit": 60.0,  # 300 ms when it changes
    "kline": 150.0,  # 1-60 s while it changes
}
"""Channel types that cannot be silent for long; the others may be, for hours (trades, liquidations, private)."""


@dataclass(slots=True)
class Cadence:
    """One topic's own pace: late is what is far longer than the longest pause so far."""

    ceiling_s: float | None
    longest_s: float = 0.0
    last_at: float | None = None
    patience: float = 1.0

    def heard(self, now: float) -> None:
        self.patience = 1.0
        if self.last_at is not None:
            self.longest_s = max(self.longest_s, now - self.last_at)
        self.last_at = now

    def restart(self, now: float) -> None:
        """Count from here: the subscription is new, a pause before it says nothing."""
        self.last_at = now

    def late(self, now: float) -> bool:
        if self.ceiling_s is None or self.last_at is None:
            return False
        return now - self.last_at > self.patience * min(self.ceiling_s, max(_FLOOR_S, _TIMES * self.longest_s))

    def be_patient(self) -> None:
        """It was late and did not come: a market that stands still is not worth a new socket every few seconds."""
        self.patience = min(_MOST_PATIENCE, self.patience * 2)


def cadence_of(channel_type: str) -> Cadence:
    return Cadence(_CEILING_S.get(channel_type))
