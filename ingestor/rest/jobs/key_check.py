"""Looks after the API key: whether it ends soon, and whether it may do what we need."""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Protocol

import structlog

from common.errors import Unavailable
from common.retrying import Backoff
from ingestor.metrics import KEY_EXPIRES_IN
from ingestor.rest.client import ApiKeyInfo

log = structlog.get_logger(__name__)

LOOKED_UP_EVERY_S = 6 * 3600.0
WARNED_AHEAD = timedelta(days=7)
_LISTEN_S = 1.0
_TRADING = ("ContractTrade", "Derivatives", "Spot", "Options")
"""Whoever may see none of these sees no order, execution or position (v5/user/query-api)."""


class ApiKeySource(Protocol):
    def key(self) -> ApiKeyInfo: ...


class KeyCheckJob:
    """At the start, every six hours, and when there are new credentials; soon again after a failure."""

    name = "key check"

    def __init__(self, source: ApiKeySource, given: Callable[[], bool]) -> None:
        self._source = source
        self._given = given  # whether there is a key at all
        self._asked: SimpleQueue[None] = SimpleQueue()

    def look(self) -> None:
        self._asked.put(None)

    def run(self, stop: threading.Event) -> None:
        backoff, due_at = Backoff(2.0, 600.0), 0.0
        while not stop.is_set():
            if time.monotonic() >= due_at:
                known = not self._given() or self._known()
                if known:
                    backoff.reset()
                due_at = time.monotonic() + (LOOKED_UP_EVERY_S if known else backoff.next_s() + 1.0)
            try:
                self._asked.get(timeout=_LISTEN_S)
                due_at = 0.0
            except Empty:
                continue

    def _known(self) -> bool:
        try:
            found = self._source.key()
        except Unavailable as error:
            log.info("the API key could not be looked up", error=str(error))
            return False
        ends = found.expires_at
        KEY_EXPIRES_IN.set_function(lambda: seconds_left(ends, datetime.now(UTC)))
        for complaint in complaints(found, datetime.now(UTC)):
            log.warning("API key needs attention", complaint=complaint, expires_at=ends and ends.isoformat())
        log.info("API key looked up", expires_at=ends and ends.isoformat())
        return True


def complaints(key: ApiKeyInfo, now: datetime) -> list[str]:
    """What a person should know of it, in words."""
    found: list[str] = []
    if key.expires_at is not None and key.expires_at - now <= WARNED_AHEAD:
        left = key.expires_at - now
        found.append(f"it expires in {left.days} days" if left > timedelta(0) else "it has expired")
    if not any(_granted(key.permissions, group) for group in _TRADING):
        found.append(f"it may see no orders, executions and positions: none of {', '.join(_TRADING)} is granted")
    return found


def seconds_left(ends: datetime | None, now: datetime) -> float:
    return float("inf") if ends is None else (ends - now).total_seconds()


def _granted(permissions: Mapping[str, list[str]], group: str) -> bool:
    return bool(permissions.get(group))
