"""Whether the spool can take events."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

_PROBE_BYTES = 64 * 2**10
PROBE_EVERY_S = 1.0


class HasRoom(Protocol):
    """A spool's limits."""

    def has_room(self, size: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Trouble:
    reason: str
    since: datetime


class DiskProbe:
    """Writes to the spool's folder, checks the limits of both spools, and reports what `failure` returns."""

    def __init__(
        self,
        folder: Path,
        private: HasRoom,
        market: HasRoom,
        room: int = 2**20,
        failure: Callable[[], str | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A spool with less than `room` bytes left is full: one that drops its oldest keeps a little."""
        self._file = folder / "tried"
        self._private = private
        self._market = market
        self._failure = failure
        self._room = room
        self._clock = clock
        self._due_at = float("-inf")
        self._trouble: Trouble | None = None

    def trouble(self) -> Trouble | None:
        """Why the spool accepts no events, and since when. It probes once a second, however often it is called."""
        now = self._clock()
        if now >= self._due_at:
            self._due_at = now + PROBE_EVERY_S
            self._trouble = self._since_first(self._not_writable() or self._full() or self._failed())
        return self._trouble

    def _since_first(self, reason: str | None) -> Trouble | None:
        if reason is None:
            return None
        return Trouble(reason, self._trouble.since if self._trouble else datetime.now(UTC))

    def _not_writable(self) -> str | None:
        try:
            with self._file.open("wb") as file:
                file.write(os.urandom(_PROBE_BYTES))  # compressible bytes would fit on a full disk
            self._file.unlink()
        except OSError as error:
            return f"the spool folder is not writable: {error.strerror or error}"
        return None

    def _failed(self) -> str | None:
        failure = self._failure()
        return f"the spool accepts no events: {failure}" if failure else None

    def _full(self) -> str | None:
        if not self._private.has_room(self._room):
            return "the spool of private events is full: their connection is not read until RabbitMQ accepts some"
        if not self._market.has_room(self._room):
            return "the spool of market events is full: the oldest are dropped"
        return None
