"""Whether the spool can take events."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

_TRIED_BYTES = 64 * 2**10
_TRIED_EVERY_S = 1.0


class Store(Protocol):
    def has_room(self, size: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Trouble:
    reason: str
    since: datetime


class DiskProbe:
    """Tries the spool's folder, asks the two spools whether their own limits leave them room, and hears what failed."""

    def __init__(
        self,
        folder: Path,
        private: Store,
        market: Store,
        room: int = 2**20,
        failure: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._tried = folder / "tried"
        self._private = private
        self._market = market
        self._failure = failure
        self._room = room  # a spool with less is full: one that drops its oldest keeps a little
        self._try_from = 0.0
        self._trouble: Trouble | None = None

    def trouble(self) -> Trouble | None:
        """Why the spool takes no events, and since when; asked often, it looks once a second."""
        if time.monotonic() >= self._try_from:
            self._try_from = time.monotonic() + _TRIED_EVERY_S
            self._trouble = self._told(self._refused() or self._full() or self._failed())
        return self._trouble

    def _told(self, reason: str | None) -> Trouble | None:
        if reason is None:
            return None
        return Trouble(reason, self._trouble.since if self._trouble else datetime.now(UTC))

    def _refused(self) -> str | None:
        try:
            with self._tried.open("wb") as file:
                file.write(os.urandom(_TRIED_BYTES))  # what compresses would find room on a full disk
            self._tried.unlink()
        except OSError as error:
            return f"the spool's folder takes nothing: {error.strerror or error}"
        return None

    def _failed(self) -> str | None:
        failure = self._failure()
        return f"the spool takes no events: {failure}" if failure else None

    def _full(self) -> str | None:
        if not self._private.has_room(self._room):
            return "the spool of private events is full: their socket is not read until RabbitMQ takes some"
        if not self._market.has_room(self._room):
            return "the spool of market events is full: the oldest are dropped"
        return None
