"""The exchange's clock, as derived from its answers."""

import time
from collections.abc import Callable

from ingestor.feed.feed import Instant

_EARLIEST_MS, _LATEST_MS = 1_500_000_000_000, 4_102_444_800_000  # 2017 and 2100: a time outside cannot be right


class ExchangeClock:
    """Our wall clock plus an offset learned from answers that carry the exchange's time."""

    def __init__(self, wall_ms: Callable[[], float] = lambda: time.time() * 1000) -> None:
        self._wall_ms = wall_ms
        self.offset_ms: float | None = None

    def now_ms(self) -> int:
        return int(self._wall_ms() + (self.offset_ms or 0.0))

    def now(self) -> Instant:
        return Instant(time.monotonic(), time.time_ns(), self.now_ms())

    def monotonic_s(self) -> float:
        return time.monotonic()

    def observe(self, exchange_ms: int, rtt_s: float) -> None:
        """The exchange's time as of half a round trip ago; ignored if it is not between 2017 and 2100."""
        if not _EARLIEST_MS <= exchange_ms <= _LATEST_MS:
            return
        self.offset_ms = exchange_ms + rtt_s * 500 - self._wall_ms()
