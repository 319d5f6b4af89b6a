"""How often somebody may ask, counted over all workers of this process's parent."""

import fcntl
import hashlib
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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

    A process that is killed leaves no lock behind.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("rate limits")
        os.ftruncate(self._file, _SLOTS * _SLOT.size)
        self._memory = mmap.mmap(self._file, _SLOTS * _SLOT.size)
        self._threads = threading.Lock()

    def allow(self, name: str, most_per_s: int, now: float) -> bool:
        """Count this request, unless it is one too many."""
        whose = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") or 1
        with self._alone():
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

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._threads:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)


COUNTS = Counts()  # made by whoever imports this first: gunicorn's own process, before it forks the workers
