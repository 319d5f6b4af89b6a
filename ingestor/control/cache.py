"""The last known subscriptions on disk, for a start without Postgres."""

import os
from collections.abc import Iterable
from pathlib import Path

import orjson
import structlog
from pydantic import TypeAdapter

from common.tables.subscriptions import DesiredSubscription

log = structlog.get_logger(__name__)

_ROWS = TypeAdapter(list[tuple[str, str, str, int, str | None]])


class SubscriptionCache:
    """One file, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: tuple[DesiredSubscription, ...] | None = None

    def keep(self, desired: Iterable[DesiredSubscription]) -> None:
        """Write them down if they changed; a disk that takes nothing only costs us the cache."""
        desired = tuple(desired)
        if desired == self._kept:
            return
        beside = self._path.with_suffix(".new")
        try:
            with beside.open("wb") as file:
                file.write(orjson.dumps([[w.service, w.endpoint, w.topic, w.generation, w.trace_id] for w in desired]))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
            self._kept = desired
        except OSError as error:
            log.warning("subscriptions could not be cached", error=str(error))

    def last(self) -> tuple[DesiredSubscription, ...]:
        try:
            return tuple(DesiredSubscription(*row) for row in _ROWS.validate_json(self._path.read_bytes(), strict=True))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            log.warning("cached subscriptions cannot be read", error=str(error))
            return ()
