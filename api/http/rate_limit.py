"""Rate limiting shared by all gunicorn workers."""

import hashlib
import mmap
import struct
import threading
from dataclasses import dataclass

_SLOTS = 8192
_PROBES = 8  # neighbours that a name may be found in
_SLOT = struct.Struct("<QQII")  # whose, which second, counted in it, counted in the one before


@dataclass(frozen=True, slots=True)
class Count:
    """Requests of one asker in a second and in the one before it."""

    second: int = 0
    current: int = 0
    previous: int = 0

    def at(self, second: int) -> "Count":
        if second == self.second:
            return self
        return Count(second, 0, self.current if second == self.second + 1 else 0)

    def in_last_second(self, now: float) -> float:
        """As if the requests of the second before had been spread evenly."""
        return self.current + self.previous * (1 - (now - self.second))

    def one_more(self) -> "Count":
        return Count(self.second, self.current + 1, self.previous)


class Counts:
    """A table of counts in memory that forked processes share; it forgets the idle first.

    Processes do not wait for each other: that two of them miss each other's count costs a request in thousands,
    and a lock would cost every request more than the counting does.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SLOTS * _SLOT.size)
        self._threads = threading.Lock()

    def allow(self, name: str, most_per_s: int, now: float) -> bool:
        """Count this request, unless it is one too many."""
        whose = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") or 1
        with self._threads:
            place, count = self._find(whose, int(now))
            if count.in_last_second(now) >= most_per_s:
                return False
            count = count.one_more()
            _SLOT.pack_into(self._memory, place, whose, count.second, count.current, count.previous)
            return True

    def _find(self, whose: int, second: int) -> tuple[int, Count]:
        """Its slot, or the one that has been idle longest."""
        places = [(whose + step) % _SLOTS * _SLOT.size for step in range(_PROBES)]
        idlest, least = places[0], second + 1
        for place in places:
            owner, *counted = _SLOT.unpack_from(self._memory, place)
            if owner == whose:
                return place, Count(*counted).at(second)
            if counted[0] < least:
                idlest, least = place, counted[0]
        return idlest, Count(second)


COUNTS = Counts()  # made by whoever imports this first: gunicorn's own process, before it forks the workers
