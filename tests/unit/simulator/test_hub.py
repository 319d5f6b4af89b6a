"""When the hub lets time pass."""

from typing import Any

from simulator.clock import Clock
from simulator.faults import Faults
from simulator.hub import RESTS_TIMES, Hub


class Ticking(Clock):
    """A second passes at each call."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def market_ms(self) -> int:
        return int(self.now_s * 1000)

    def seconds(self) -> float:
        self.now_s += 1
        return self.now_s


class Slow:
    """A market whose advance takes as long as the clock shows."""

    def __init__(self) -> None:
        self.advanced: list[int] = []

    def advance(self, now_ms: int) -> list[tuple[str, str]]:
        self.advanced.append(now_ms)
        return []


class Quiet:
    def passed(self, now_ms: int) -> list[Any]:
        return []


def test_what_took_long_rests_for_longer():
    clock, market = Ticking(), Slow()
    account: Any = Quiet()
    markets: Any = {"linear": market}
    hub = Hub(clock, markets, account, Faults(clock.seconds))
    for _ in range(4):
        hub.advance()
    assert market.advanced == [1_000, 4_000]
    assert RESTS_TIMES == 3
