"""The exchange's time."""

import time


class Clock:
    """Wall time when the process started, and from there on steady, at some speed and with some skew."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._started_s = time.time()
        self._zero_s = time.monotonic()
        self.skew_ms = 0

    def market_ms(self) -> int:
        """The time the market lives by: it never steps."""
        return int((self._started_s + (time.monotonic() - self._zero_s) * self._speed) * 1000)

    def now_ms(self) -> int:
        """The time of the exchange."""
        return self.market_ms() + self.skew_ms

    def seconds(self) -> float:
        """Steady seconds, for durations on the simulator's own side."""
        return time.monotonic()
