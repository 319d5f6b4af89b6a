"""How long we wait before trying again."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from common.errors import Unavailable

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Backoff:
    """Exponential with full jitter; the first retry after a proof of life comes at once."""

    first_s: float = 0.5
    most_s: float = 20.0
    failures: int = 0

    def reset(self) -> None:
        self.failures = 0

    def next_s(self, draw: Callable[[], float] = random.random) -> float:
        self.failures += 1
        if self.failures == 1:
            return 0.0
        ceiling = min(self.most_s, self.first_s * 2 ** min(self.failures - 2, 30))
        return float(ceiling * draw())


def keep_trying(
    attempt: Callable[[Backoff], None], stop: threading.Event, neighbour: str, backoff: Backoff | None = None
) -> None:
    """Run `attempt` until it returns or `stop` is set, and tell once when the neighbour goes away.

    `attempt` calls `backoff.reset()` on proof of life: a reply, a confirm, a commit.
    """
    backoff = backoff or Backoff()
    told = False

    while not stop.is_set():
        alive_before = backoff.failures == 0
        try:
            attempt(backoff)
            return
        except Unavailable as error:
            if not told or alive_before or backoff.failures == 0:
                log.warning("neighbour is away", neighbour=neighbour, error=str(error))
                told = True
            stop.wait(backoff.next_s())
