"""The idle limit of the private endpoint."""

import re
from dataclasses import dataclass

USUAL_LIMIT_S = 600.0
SHORTEST_S, LONGEST_S = 30.0, 600.0
CHECK_EVERY_S = 30.0

_DURATION = re.compile(r"(\d+)([sm])")


def limit_of(max_active_time: str | None) -> float:
    """The requested limit in seconds; an invalid one counts as none (the response of Bybit is unknown)."""
    found = _DURATION.fullmatch(max_active_time or "")
    if found is None:
        return USUAL_LIMIT_S
    asked_s = float(found[1]) * (60 if found[2] == "m" else 1)
    return asked_s if SHORTEST_S <= asked_s <= LONGEST_S else USUAL_LIMIT_S


@dataclass(frozen=True, slots=True)
class Idle:
    """The check runs every 30 s after opening, so it closes up to 30 s late."""

    opened_s: float
    limit_s: float

    def next_check(self, now_s: float) -> float:
        done = int((now_s - self.opened_s) // CHECK_EVERY_S)
        return self.opened_s + (done + 1) * CHECK_EVERY_S

    def expired(self, active_s: float, check_s: float) -> bool:
        return check_s - active_s >= self.limit_s
