"""The last known subscriptions on disk, for a start without Postgres."""

from collections.abc import Iterable

import orjson
import structlog
from pydantic import TypeAdapter

from common.tables.subscriptions import DesiredSubscription
from ingestor.control.state_file import StateFile

log = structlog.get_logger(__name__)

_ROWS = TypeAdapter(list[tuple[str, str, str, int, str | None]])  # service, endpoint, topic, generation, trace id


class SubscriptionCache:
    """Keeps the active subscriptions of the last successful read."""

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._written: tuple[DesiredSubscription, ...] | None = None

    def keep(self, desired: Iterable[DesiredSubscription]) -> None:
        """Write them if they changed. Errors of the disk are logged: they cost the cache only."""
        desired = tuple(desired)
        if desired == self._written:
            return
        try:
            self._file.replace(
                orjson.dumps([[s.service, s.endpoint, s.topic, s.generation, s.trace_id] for s in desired])
            )
            self._written = desired
        except OSError as error:
            log.warning("subscription cache not written", error=str(error))

    def last(self) -> tuple[DesiredSubscription, ...]:
        """The subscriptions that were kept last; none when there is no file, or when it is not valid."""
        try:
            return tuple(DesiredSubscription(*row) for row in _ROWS.validate_json(self._file.read(), strict=True))
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            log.warning("subscription cache not readable", error=str(error))
            return ()
