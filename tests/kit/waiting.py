"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_PAUSE_S = 0.02


def eventually(question: Callable[[], T | None], within_s: float, what: str) -> T:
    """Return the first result that is true; exceptions count as false.

    Raises AssertionError with `what` after `within_s` seconds.
    """
    deadline = time.monotonic() + within_s
    while True:
        error: Exception | None = None
        try:
            if answer := question():
                return answer
        except Exception as raised:
            error = raised
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}") from error
        time.sleep(_PAUSE_S)
