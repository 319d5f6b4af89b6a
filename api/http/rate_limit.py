"""Rate limiting shared by all gunicorn workers."""

import hashlib
import mmap
import struct
import threading
from dataclasses import dataclass

_SLOTS = 8192
_PROBES = 8  # adjacent slots in which a name may be found
_SLOT = struct.Struct("<QQII")  # owner, second, requests in it, requests in the second before


@dataclass(frozen=True, slots=True)
class RequestCount:
    """Requests of one caller in a second and in the one before it."""

    second: int = 0
    current: int = 0
    previous: int = 0

    def at(self, second: int) -> "RequestCount":
        if second == self.second:
            return self
        return RequestCount(second, 0, self.current if second == self.second + 1 else 0)

    def in_last_second(self, now: float) -> float:
        """As if the requests of the second before had been spread evenly."""
        return self.current + self.previous * (1 - (now - self.second))

    def one_more(self) -> "RequestCount":
        return RequestCount(self.second, self.current + 1, self.previous)


class RateLimiter:
    """Counts requests by name, in memory that forked processes share; the longest idle is forgotten first.

    Processes do not wait for each other: two that miss each other's count let one request in thousands through,
    and a lock would cost every request more than the counting does.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SLOTS * _SLOT.size)
        self._threads = threading.Lock()

    def allow(self, name: str, max_per_s: int, now: float) -> bool:
        """Count this request, unless that exceeds the rate; `now` in seconds."""
        owner_id = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") or 1
        with self._threads:
            place, count = self._find(owner_id, int(now))
            if count.in_last_second(now) >= max_per_s:
                return False
            count = count.one_more()
            _SLOT.pack_into(self._memory, place, owner_id, count.second, count.current, count.previous)
            return True

    def _find(self, owner_id: int, second: int) -> tuple[int, RequestCount]:
        """Its slot, or the one that has been idle longest."""
        places = [(owner_id + step) % _SLOTS * _SLOT.size for step in range(_PROBES)]
        idlest, least = places[0], second + 1
        for place in places:
            owner, *counted = _SLOT.unpack_from(self._memory, place)
            if owner == owner_id:
                return place, RequestCount(*counted).at(second)
            if counted[0] < least:
                idlest, least = place, counted[0]
        return idlest, RequestCount(second)


SHARED = RateLimiter()  # created at the first import: in gunicorn's master, before it forks the workers
