"""What the ingestor reports of itself, read once and shared by the requests of a moment."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from common.views import connections, ingestors
from common.views.connections import ConnectionView
from common.views.ingestors import IngestorView


@dataclass(frozen=True, slots=True)
class Observation:
    """The leading ingestor and its connections as of `now`, by the database's clock."""

    now: datetime
    leader: IngestorView | None
    connections: Sequence[ConnectionView]

    def age_s(self, moment: datetime) -> float:
        return (self.now - moment).total_seconds()

    @property
    def reporting(self) -> IngestorView | None:
        """The leading ingestor, if its heartbeat is fresh."""
        return self.leader if self.leader is not None and self.leader.fresh else None


def observe(connection: Connection) -> Observation:
    leader = ingestors.leader(connection)
    held = connections.of_epoch(connection, leader.epoch) if leader else []
    return Observation(ingestors.clock(connection), leader, held)


class ObservationCache:
    """An observation at most a moment old: good enough to explain what a subscription waits for."""

    def __init__(
        self,
        read: Callable[[Connection], Observation] = observe,
        fresh_for_s: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._fresh_for_s = fresh_for_s
        self._clock = clock
        self._last: tuple[float, Observation] | None = None
        self._reading = threading.Lock()

    def get(self, connection: Connection) -> Observation:
        """One request at a time reads again; meanwhile the others use the last observation."""
        last = self._last
        if last is not None and self._clock() - last[0] < self._fresh_for_s:
            return last[1]
        if not self._reading.acquire(blocking=last is None):
            return last[1] if last else self._read(connection)
        try:
            fresh = self._read(connection)
            self._last = (self._clock(), fresh)
            return fresh
        finally:
            self._reading.release()
