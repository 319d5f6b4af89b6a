"""How often we may connect: one allowance for all sockets."""

import threading
from collections import deque

from ingestor.bybit.endpoints import CONNECT_WINDOW_S

MOST = 60  # far below Bybit's CONNECTS_PER_WINDOW, which all clients behind an address share
PER_S = CONNECT_WINDOW_S
KEPT_FOR_PRIVATE = 10


class ConnectBudget:
    """A sliding window of connects; its last places are the private socket's."""

    def __init__(self, most: int = MOST, per_s: float = PER_S, kept_for_private: int = KEPT_FOR_PRIVATE) -> None:
        self._most = most
        self._per_s = per_s
        self._kept = kept_for_private
        self._made: deque[float] = deque()
        self._lock = threading.Lock()

    def wait_s(self, *, private: bool, now: float) -> float:
        """0 and the place is taken, or how long until there is one."""
        with self._lock:
            while self._made and self._made[0] <= now - self._per_s:
                self._made.popleft()
            allowed = self._most if private else self._most - self._kept
            if len(self._made) < allowed:
                self._made.append(now)
                return 0.0
            return self._made[len(self._made) - allowed] + self._per_s - now
