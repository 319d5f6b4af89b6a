"""Holds an event between its connection to the exchange and the broker's confirm."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from common.events import Dropped, Event
from ingestor.delivery.spool import Spool, SpoolFailure, Stored

log = structlog.get_logger(__name__)

_REFILL = 1000


@dataclass(slots=True)
class Entry:
    """An event that is not confirmed; `stored` while the spool holds it too."""

    position: int
    event: Event
    stored: bool


@dataclass(frozen=True, slots=True)
class LaneCounts:
    """Events since the start; at any moment accepted = confirmed + dropped + spooled + in_flight."""

    accepted: int
    confirmed: int
    dropped: int
    spooled: int
    in_flight: int


class Lane:
    """A queue whose head is in memory and whose tail is on disk, in one sequence.

    A durable lane writes each event to disk before it accepts it and never drops one: when the disk is full it
    does not accept, and its producer has to wait. A lane that is not durable drops its oldest events and reports them.
    """

    def __init__(
        self,
        spool: Spool,
        *,
        durable: bool,
        most_events: int,
        most_bytes: int,
    ) -> None:
        """Memory holds at most `most_events` and `most_bytes`."""
        self._spool = spool
        self._durable = durable
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._report_dropped: Callable[[Sequence[Dropped]], None] = lambda _: None
        self._lock = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._taken = 0  # by the publisher, and not confirmed
        self._taken_bytes = 0
        self._bytes = 0  # of _waiting
        self._position = spool.last_position
        self._tail_from: int | None = 1 if spool.count else None  # the first position that is on disk only
        self._confirmed_rows: list[Stored] = []
        self._accepted = spool.count
        self._confirmed = 0
        self._dropped = 0
        self._spooled = spool.count
        self._closed = spool.closed_because is not None  # until the disk can be used
        self.failure = spool.closed_because  # why the disk did not take the last events, while it does not
        self._on_arrival: Callable[[], None] = lambda: None
        self._notified = False

    def on_arrival(self, notify: Callable[[], None]) -> None:
        """`notify` is called from the producer's thread, once per burst that finds the publisher idle."""
        self._on_arrival = notify

    def on_dropped(self, report: Callable[[Sequence[Dropped]], None]) -> None:
        """`report` is called under the lane's lock with what was dropped: it must not wait, nor call the lane."""
        self._report_dropped = report

    def put(self, events: Sequence[Event]) -> bool:
        """Accept these and notify the publisher; False when they have to be offered again later."""
        accepted = self.accept(events)
        if not self._notified:
            self._notified = True
            self._on_arrival()
        return accepted

    def heard(self) -> None:
        """The publisher is about to take events: later ones notify it again."""
        self._notified = False

    def accept(self, events: Sequence[Event]) -> bool:
        """Accept these, in sequence; False when a durable lane cannot for now."""
        with self._lock:
            entries = [Entry(self._position + n, event, stored=False) for n, event in enumerate(events, 1)]
            size = sum(len(event.body) for event in events)
            in_memory = self._tail_from is None and self._fits(len(events), size)
            if (self._durable or not in_memory) and not self._store(entries, size):
                if self._durable:
                    return False
                self._lose(entries)
                return True
            self._position += len(entries)
            self._accepted += len(entries)
            if in_memory:
                self._waiting.extend(entries)
                self._bytes += size
            else:
                self._tail_from = self._tail_from or entries[0].position
                self._spooled += len(entries)
            return True

    def take(self, most: int) -> list[Entry]:
        """At most that number of events to publish, oldest first. They are confirmed or returned later."""
        if (
            not self._waiting and self._tail_from is None
        ):  # read without the lock: an event that arrives now notifies again
            return []
        with self._lock:
            if len(self._waiting) < most and self._tail_from is not None:
                self._refill()
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            size = sum(len(entry.event.body) for entry in taken)
            self._taken += len(taken)
            self._taken_bytes += size
            self._bytes -= size
            return taken

    def confirmed(self, entries: Iterable[Entry]) -> None:
        with self._lock:
            for entry in entries:
                self._taken -= 1
                self._taken_bytes -= len(entry.event.body)
                self._confirmed += 1
                if entry.stored:
                    self._confirmed_rows.append(Stored(entry.position, entry.event))
            if self._tail_from is None and not self._durable and not self._closed:
                self.failure = None  # memory suffices again: the disk may not be used for a long time
            if len(self._confirmed_rows) >= _REFILL:
                self._forget()

    def returned(self, entries: Sequence[Entry]) -> None:
        """Not confirmed, in sequence: they are taken first next time."""
        with self._lock:
            self._waiting.extendleft(reversed(entries))
            size = sum(len(entry.event.body) for entry in entries)
            self._taken -= len(entries)
            self._taken_bytes -= size
            self._bytes += size

    def spill(self) -> None:
        """Write to disk what is in memory only: the broker is unavailable."""
        with self._lock:
            entries = [entry for entry in self._waiting if not entry.stored]
            if entries:
                self._store(entries, sum(len(entry.event.body) for entry in entries))

    def sweep(self, oldest_s: float | None = None) -> None:
        """Remove from disk what is confirmed, and drop what is older than `oldest_s`, a Unix time."""
        if self._closed and not self._reopened():
            return
        with self._lock:
            self._forget()
            if oldest_s is not None and self._tail_from is not None:
                self._drop(lambda: self._spool.drop_older(oldest_s, self._memory_ends_at()))

    def counts(self) -> LaneCounts:
        with self._lock:
            in_flight = len(self._waiting) + self._taken
            return LaneCounts(self._accepted, self._confirmed, self._dropped, self._spooled, in_flight)

    @property
    def empty(self) -> bool:
        counts = self.counts()
        return counts.spooled + counts.in_flight == 0

    def close(self) -> None:
        self.spill()
        self.sweep()
        self._spool.close()

    def _reopened(self) -> bool:
        """Whether the disk can be used again. Events that an earlier run left there come before those in memory."""
        try:
            self._spool.open()  # without the lock, because it reads all of the file
        except SpoolFailure as failure:
            self.failure = str(failure)
            return False
        with self._lock:
            self._closed = not self._merge_spooled()
        if not self._closed:
            log.info("spool opened", waiting=self._spooled)
        return not self._closed

    # -- under the lock -------------------------------------------------------------------------------------

    def _fits(self, count: int, size: int) -> bool:
        held = len(self._waiting) + self._taken
        return held + count <= self._most_events and self._bytes + self._taken_bytes + size <= self._most_bytes

    def _store(self, entries: list[Entry], size: int) -> bool:
        if self._closed:
            self._fail(self._spool.closed_because or "not opened yet")
            return False
        if not self._spool.has_room(size):
            if self._durable:
                self._fail("the spool is full")
                return False
            self._drop(lambda: self._spool.drop_oldest(size, self._memory_ends_at()))
        try:
            self._spool.append([Stored(entry.position, entry.event) for entry in entries])
        except SpoolFailure as failure:
            self._fail(str(failure))
            return False
        for entry in entries:
            entry.stored = True
        self.failure = None
        return True

    def _refill(self) -> None:
        """Read from disk where memory ends."""
        try:
            rows = self._spool.read(self._tail_from or 1, _REFILL)
        except SpoolFailure as failure:
            self._fail(str(failure))
            return
        self._waiting.extend(Entry(row.position, row.event, stored=True) for row in rows)
        self._bytes += sum(len(row.event.body) for row in rows)
        self._spooled -= len(rows)
        self._tail_from = rows[-1].position + 1 if len(rows) == _REFILL else None
        if self._tail_from is None and self._spooled:
            log.error("spooled events missing", missing=self._spooled)
            self._dropped += self._spooled
            self._spooled = 0

    def _merge_spooled(self) -> bool:
        left = self._spool.count
        if left:
            try:
                self._spool.append([Stored(entry.position, entry.event) for entry in self._waiting])
            except SpoolFailure as failure:
                self._spool.close()
                self.failure = str(failure)
                return False
            self._waiting.clear()
            self._bytes = 0
            self._tail_from = 1
            self._accepted += left
            self._spooled = self._spool.count
        self.failure = None
        return True

    def _forget(self) -> None:
        rows, self._confirmed_rows = self._confirmed_rows, []
        if not rows:
            return
        try:
            self._spool.remove(rows)
        except SpoolFailure as failure:
            self._fail(str(failure))

    def _memory_ends_at(self) -> int:
        """The last position in memory: events on disk behind it may be dropped."""
        return (self._tail_from or self._position + 1) - 1

    def _drop(self, choose: Callable[[], Sequence[Dropped]]) -> None:
        try:
            dropped = choose()
        except SpoolFailure as failure:
            self._fail(str(failure))
            return
        count = sum(drop.events for drop in dropped)
        self._dropped += count
        self._spooled -= count
        if dropped:
            self._report_dropped(dropped)

    def _lose(self, entries: list[Entry]) -> None:
        self._accepted += len(entries)
        self._dropped += len(entries)
        self._report_dropped([Dropped(e.event.routing_key, 1, e.event.timestamp_s) for e in entries])

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            log.error("spool not writable", reason=reason, durable=self._durable)
        self.failure = reason


@dataclass(frozen=True, slots=True)
class Outbox:
    """The two lanes from the connections to the publishers."""

    private: Lane
    market: Lane

    def put(self, events: Sequence[Event], *, private: bool) -> bool:
        """Accept a burst; False when it has to be offered again later, because the private lane is full."""
        return (self.private if private else self.market).put(events)
