"""Requests that wait for a result (RFC 7240)."""

import re
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MAX_WAIT_S = 10
MAX_WAITING = 4
_POLL_EVERY_S = 0.05
_WAIT = re.compile(r"wait=(\d{1,6})")


def preferred_s(prefer: str) -> int:
    """The seconds of `Prefer: wait=N`, at most 10; 0 for none or an invalid one."""
    named = (_WAIT.fullmatch(each.strip()) for each in prefer.lower().split(","))
    return min(MAX_WAIT_S, next((int(each.group(1)) for each in named if each), 0))


class LongPollSlots:
    """Limits how many requests of a process wait: each holds a thread, but no database connection."""

    def __init__(self, slots: int = MAX_WAITING) -> None:
        self._slots = threading.BoundedSemaphore(slots)

    def wait(self, poll: Callable[[], T], settled: Callable[[T], bool], within_s: float) -> T | None:
        """The first settled value, or the last one when the time is up; None when no slot is free."""
        if not self._slots.acquire(blocking=False):
            return None
        try:
            ends_at = time.monotonic() + within_s
            while not settled(found := poll()) and (left_s := ends_at - time.monotonic()) > 0:
                time.sleep(min(_POLL_EVERY_S, left_s))
            return found
        finally:
            self._slots.release()
