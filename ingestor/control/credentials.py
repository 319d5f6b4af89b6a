"""Notices new credentials while the process runs: on SIGHUP, and when a secret's file changes."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog

from common import settings
from common.errors import ConfigError
from common.settings import Credentials, Environment

log = structlog.get_logger(__name__)

_LOOKED_AT_EVERY_S = 1.0
_FILES = ("BYBIT_API_KEY_FILE", "BYBIT_API_SECRET_FILE")


@dataclass(slots=True)
class Account:
    """Whom we speak for at this moment."""

    credentials: Credentials | None


class CredentialsWatch:
    """Tells `renewed` what the environment says now; what makes no sense is told and changes nothing."""

    name = "credentials"

    def __init__(
        self,
        environment: Callable[[], Mapping[str, str]],
        renewed: Callable[[Credentials | None], None],
    ) -> None:
        self._environment = environment
        self._renewed = renewed
        self._asked: SimpleQueue[None] = SimpleQueue()

    def look(self) -> None:
        """Safe in a signal handler."""
        self._asked.put(None)

    def run(self, stop: threading.Event) -> None:
        seen = self._stamps()
        while not stop.is_set():
            try:
                self._asked.get(timeout=_LOOKED_AT_EVERY_S)
            except Empty:
                if self._stamps() == seen:
                    continue
            seen = self._stamps()
            self._read()

    def _read(self) -> None:
        try:
            env = Environment(self._environment())
            found = settings.credentials(env)
            env.checked()
        except ConfigError as error:
            log.error("new credentials make no sense; keeping the old ones", error=str(error))
            return
        log.info("credentials read again", given=found is not None)
        self._renewed(found)

    def _stamps(self) -> tuple[tuple[int, int] | None, ...]:
        try:
            values = self._environment()
        except ConfigError:  # it is being written, or nobody may read it: the next look may tell more
            return ()
        return tuple(_stamp(values.get(name, "")) for name in _FILES)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat() if path else None
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_ino) if found else None
