"""Tells of events that we ourselves dropped, because the spool was full or they were too old."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

OVER_AFTER_S = 5.0  # without another drop of the topic
_LOOKED_AT_EVERY_S = 0.5
_LOGGED_EVERY_S = 10.0  # while it goes on
_GIVEN_UP_AFTER_S = 60.0  # a key of an earlier life, which nobody wants in this one


class Holders(Protocol):
    """Whoever carries the topics; each call answers with the keys that nobody carries."""

    def overflowed(self, keys: Iterable[str], since: float) -> set[str]: ...
    def overflow_over(self, keys: Iterable[str]) -> set[str]: ...


@dataclass(slots=True)
class Spells:
    """From a key's first drop until none has come for a while. Times are monotonic."""

    since: float  # nothing that waited on disk then can be dropped now
    _last: dict[str, float] = field(default_factory=dict)
    _untold: dict[str, float] = field(default_factory=dict)  # key, and when it was dropped first

    def nothing_waits(self, now: float) -> None:
        self.since = now

    def dropped(self, keys: Iterable[str], now: float) -> None:
        for key in keys:
            if key not in self._last:
                self._untold[key] = now
            self._last[key] = now

    def to_tell(self, now: float) -> list[str]:
        """The keys that are still to be told of; `told` says which ones were."""
        given_up = [key for key, first in self._untold.items() if first <= now - _GIVEN_UP_AFTER_S]
        for key in given_up:
            log.warning("events dropped of a topic that nobody wants", key=key)
            del self._untold[key], self._last[key]
        return list(self._untold)

    def told(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._untold.pop(key, None)

    def over(self, now: float) -> list[str]:
        """The keys whose spell ended, each once."""
        ended = [k for k, last in self._last.items() if last <= now - OVER_AFTER_S and k not in self._untold]
        for key in ended:
            del self._last[key]
        return ended


class Overflow:
    """A lane puts what it dropped into `dropped`, under its lock: what follows is done here. `waiting` is on disk."""

    name = "overflow"

    def __init__(self, dropped: SimpleQueue[Mapping[str, int]], holders: Holders, waiting: Callable[[], int]) -> None:
        self._dropped = dropped
        self._holders = holders
        self._waiting = waiting
        self._spells = Spells(time.monotonic())
        self._unlogged: dict[str, int] = {}
        self._log_at = 0.0

    def run(self, stop: threading.Event) -> None:
        spells = self._spells
        while not stop.is_set():
            keys, now = self._heard(), time.monotonic()
            spells.dropped(keys, now)
            self._log(keys, now)
            if fresh := spells.to_tell(now):
                spells.told(set(fresh) - self._holders.overflowed(fresh, spells.since))
            if ended := spells.over(now):
                self._holders.overflow_over(ended)
            if not keys and not self._waiting():
                spells.nothing_waits(now)

    def _heard(self) -> dict[str, int]:
        """What was dropped lately, as one."""
        found: dict[str, int] = {}
        try:
            each = self._dropped.get(timeout=_LOOKED_AT_EVERY_S)
            while True:
                for key, count in each.items():
                    found[key] = found.get(key, 0) + count
                each = self._dropped.get_nowait()
        except Empty:
            pass
        return found

    def _log(self, dropped: Mapping[str, int], now: float) -> None:
        for key, count in dropped.items():
            self._unlogged[key] = self._unlogged.get(key, 0) + count
        if self._unlogged and now >= self._log_at:
            total = sum(self._unlogged.values())
            log.error("events dropped: the spool is full or too old", events=total, by_key=self._unlogged)
            self._unlogged, self._log_at = {}, now + _LOGGED_EVERY_S
