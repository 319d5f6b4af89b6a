"""Events on disk, in sequence, until the broker has confirmed them."""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from common.events import Dropped, Event

log = structlog.get_logger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY, id TEXT NOT NULL, event_class TEXT NOT NULL, routing_key TEXT NOT NULL,
    timestamp_s INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_class ON events (event_class, position);
"""
_PAGE_BYTES = 4096
BALLAST_BYTES = 16 * 2**20
DROPPED_FIRST = (
    "orderbook",
    "ticker",
    "raw",
    "price_limit",
    "adl_alert",
    "insurance",
    "system_status",
    "kline",
    "liquidation",
    "trades",
)
"""When the spool is full, classes are dropped in this sequence, the oldest events first."""


class SpoolFailure(Exception):
    """The disk cannot be used: it is full, gone or read-only."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A row: the event and its position in the sequence of all events of the lane."""

    position: int
    event: Event


class Spool:
    """One SQLite file, in WAL mode; the caller serialises the calls.

    On a disk that is full or read-only it stays closed, accepts nothing, and can be opened later.
    """

    def __init__(self, path: Path, most_bytes: int, *, durable: bool) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._durable = durable
        self._ballast = path.with_name(path.name + ".ballast")
        self._handle: sqlite3.Connection | None = None
        self.count = self.bytes = 0
        self.last_position = time.time_ns() // 1000  # while it is closed: above all positions that the file may hold
        self.closed_because: str | None = None
        try:
            self.open()
        except SpoolFailure as failure:
            log.error("spool not opened", file=str(path), error=str(failure))

    def open(self) -> None:
        """Open the file with the events that an earlier run left; raises SpoolFailure."""
        try:
            with self._read():
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._handle = self._opened()
                self.count, self.bytes, self.last_position = self._measured()
        except SpoolFailure as failure:
            self.close()
            self.closed_because = str(failure)
            raise
        self.closed_because = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._handle is None:
            raise sqlite3.OperationalError(self.closed_because or "closed")
        return self._handle

    def has_room(self, size: int) -> bool:
        return self.bytes + size <= self._most_bytes

    def append(self, rows: Sequence[Stored]) -> None:
        """All of them or none; raises SpoolFailure."""
        with self._written():
            self._db.executemany(
                "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)",
                [(row.position, *_columns(row.event)) for row in rows],
            )
        self.count += len(rows)
        self.bytes += sum(len(row.event.body) for row in rows)

    def read(self, from_position: int, most: int) -> list[Stored]:
        """The next rows in sequence; raises SpoolFailure."""
        with self._read():
            rows = self._db.execute(
                "SELECT position, id, event_class, routing_key, timestamp_s, body FROM events"
                " WHERE position >= ? ORDER BY position LIMIT ?",
                (from_position, most),
            ).fetchall()
        return [
            Stored(position, Event(name, kind, key, body, stamp)) for position, name, kind, key, stamp, body in rows
        ]

    def remove(self, rows: Iterable[Stored]) -> None:
        """They are confirmed. Raises SpoolFailure, and then they are published once more after a restart."""
        rows = list(rows)
        try:
            self._delete(rows)
        except SpoolFailure:
            if not self._release_ballast():  # on a full disk SQLite cannot even delete: this is the room for it
                raise
            self._delete(rows)
        self.count -= len(rows)
        self.bytes -= sum(len(row.event.body) for row in rows)
        if not self.count:
            self._shrink()

    def drop_oldest(self, size: int, above: int) -> list[Dropped]:
        """Make room for `size` bytes behind position `above`.

        Half a chain of book deltas is worse than none, so a book is dropped with all of its rows.
        """
        dropped: list[Dropped] = []
        for kind in DROPPED_FIRST:
            while not self.has_room(size) and (oldest := self._oldest(kind, above)):
                key, position = oldest
                last = 2**62 if kind == "orderbook" else position
                dropped.append(self._drop(kind, key, above, last))
        return dropped

    def drop_older(self, than_s: float, above: int) -> list[Dropped]:
        """Drop what is too old to be of use, one entry per routing key."""
        condition = "position > ? AND timestamp_s < ? AND event_class != 'gap'"
        with self._written():
            found = self._db.execute(
                "SELECT routing_key, count(*), min(timestamp_s), sum(length(body)) FROM events"  # noqa: S608
                f" WHERE {condition} GROUP BY 1",
                (above, than_s),
            ).fetchall()
            self._db.execute(f"DELETE FROM events WHERE {condition}", (above, than_s))  # noqa: S608
        self.count -= sum(count for _, count, _, _ in found)
        self.bytes -= sum(size for _, _, _, size in found)
        return [Dropped(key, count, oldest_s) for key, count, oldest_s, _ in found]

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _delete(self, rows: list[Stored]) -> None:
        with self._written():
            self._db.executemany("DELETE FROM events WHERE position = ?", [(row.position,) for row in rows])

    def _shrink(self) -> None:
        """The spool is empty: return its room to the disk, and make the ballast again."""
        with self._read():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
        self._reserve_ballast()

    def _reserve_ballast(self) -> None:
        """Reserve room that can be released when the disk is full."""
        try:
            if self._ballast.exists():
                return
            with self._ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_BYTES)
        except OSError as error:
            self._release_ballast()
            log.warning("spool ballast not written", file=str(self._ballast), error=str(error))

    def _release_ballast(self) -> bool:
        """Whether there was a ballast. A read-only disk keeps it, and needs no room either."""
        try:
            self._ballast.unlink()
        except OSError:
            return False
        return True

    def _oldest(self, kind: str, above: int) -> tuple[str, int] | None:
        """The key of the class's oldest row, and the last position of its first thousand rows."""
        with self._read():
            rows = self._db.execute(
                "SELECT routing_key, position FROM events WHERE event_class = ? AND position > ?"
                " ORDER BY position LIMIT 1000",
                (kind, above),
            ).fetchall()
        return (rows[0][0], rows[-1][1]) if rows else None

    def _drop(self, kind: str, key: str, above: int, last: int) -> Dropped:
        which = "event_class = ? AND routing_key = ? AND position > ? AND position <= ?"
        values = (kind, key, above, last)
        with self._written():
            [(count, oldest_s, size)] = self._db.execute(
                f"SELECT count(*), min(timestamp_s), coalesce(sum(length(body)), 0) FROM events WHERE {which}",  # noqa: S608
                values,
            ).fetchall()
            self._db.execute(f"DELETE FROM events WHERE {which}", values)  # noqa: S608
        self.count -= count
        self.bytes -= size
        return Dropped(key, int(count), int(oldest_s))

    @contextmanager
    def _written(self) -> Iterator[None]:
        with self._read():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _read(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SpoolFailure(f"{self._path.name}: {error}") from error

    def _measured(self) -> tuple[int, int, int]:
        found = "SELECT count(*), coalesce(sum(length(body)), 0), coalesce(max(position), 0) FROM events"
        return tuple(self._db.execute(found).fetchone())

    def _opened(self) -> sqlite3.Connection:
        """The file, or a new one with every row that could still be read of a corrupt one."""
        try:
            db = self._whole()
        except sqlite3.OperationalError:  # the folder is gone, read-only or full
            if not self._release_ballast():
                raise
            return self._whole()  # the room is for events now; the ballast is made again once they are confirmed
        self._reserve_ballast()
        return db

    def _whole(self) -> sqlite3.Connection:
        try:
            db = self._connected()
            if db.execute("PRAGMA quick_check").fetchone()[0] == "ok":
                return db
            db.close()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            log.warning("spool not readable", file=str(self._path), error=str(error))
        return self._salvaged()

    def _connected(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5.0)
        for pragma in (
            "auto_vacuum=INCREMENTAL",
            "journal_mode=WAL",
            f"synchronous={'FULL' if self._durable else 'NORMAL'}",
            "journal_size_limit=4194304",
            f"max_page_count={2 * self._most_bytes // _PAGE_BYTES}",
        ):
            db.execute(f"PRAGMA {pragma}")
        db.executescript(_SCHEMA)
        return db

    def _salvaged(self) -> sqlite3.Connection:
        broken = self._path.with_name(f"{self._path.name}.corrupt-{int(time.time())}")
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                part.rename(broken.with_name(broken.name + suffix))
        db = self._connected()
        saved = _copied(broken, db)
        log.error("spool corrupt, readable events kept", file=str(broken), saved=saved)
        return db


def _columns(event: Event) -> tuple[str, str, str, int, bytes]:
    return event.id, event.event_class, event.routing_key, event.timestamp_s, event.body


def _copied(broken: Path, db: sqlite3.Connection) -> int:
    """A corrupt page ends the copy: reading from both ends inwards is not worth it."""
    saved = 0
    try:
        old = sqlite3.connect(broken, isolation_level=None)
        for row in old.execute("SELECT position, id, event_class, routing_key, timestamp_s, body FROM events"):
            db.execute("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
            saved += 1
    except sqlite3.Error:
        pass
    return saved
