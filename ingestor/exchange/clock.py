"""The exchange's clock, as far as its answers let us know it."""

import time
from collections.abc import Callable


class ExchangeClock:
    """Our wall clock plus an offset learned from answers that carry the exchange's time."""

    def __init__(self, wall_ms: Callable[[], float] = lambda: time.time() * 1000) -> None:
        self._wall_ms = wall_ms
        self.offset_ms: float | None = None

    def now_ms(self) -> int:
        return int(self._wall_ms() + (self.offset_ms or 0.0))

    def told(self, exchange_ms: int, rtt_s: float) -> None:
        """The exchange said this; half of the round trip ago, as a guess."""
        self.offset_ms = exchange_ms + rtt_s * 500 - self._wall_ms()
