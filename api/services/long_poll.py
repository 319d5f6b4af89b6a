"""Answers that a caller is willing to wait for."""

import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MOST_S = 10
MOST_WAITING = 4
_LOOKED_EVERY_S = 0.05
_WAIT = re.compile(r"wait=(\d{1,6})")


def preferred_s(prefer: str) -> int:
    """What `Prefer: wait=N` asks for, as far as we go along with it; 0 for nothing (RFC 7240)."""
    named = (_WAIT.fullmatch(each.strip()) for each in prefer.lower().split(","))
    return min(MOST_S, next((int(each.group(1)) for each in named if each), 0))


class LongPollSlots:
    """Has few seats for all that wait in a process: each takes a thread, but holds no connection to the database."""

    def __init__(self, seats: int = MOST_WAITING) -> None:
        self._seats = threading.BoundedSemaphore(seats)

    def wait(self, look: Callable[[], T], settled: Callable[[T], bool], within_s: float) -> T | None:
        """What is seen when it is settled or the time is up; None when all seats are taken."""
        if not self._seats.acquire(blocking=False):
            return None
        try:
            ends_at = time.monotonic() + within_s
            while not settled(found := look()) and (left_s := ends_at - time.monotonic()) > 0:
                time.sleep(min(_LOOKED_EVERY_S, left_s))
            return found
        finally:
            self._seats.release()
