"""How long to wait before trying again."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Exponential with full jitter; the first retry after a reset is immediate."""

    first_s: float = 0.5
    most_s: float = 20.0
    failures: int = 0

    def reset(self) -> None:
        self.failures = 0

    def next_s(self, draw: Callable[[], float] = random.random) -> float:
        """Seconds until the next attempt, one more having failed; `draw` returns a number from 0 to 1."""
        self.failures += 1
        if self.failures == 1:
            return 0.0
        ceiling = min(self.most_s, self.first_s * 2 ** min(self.failures - 2, 30))
        return float(ceiling * draw())
