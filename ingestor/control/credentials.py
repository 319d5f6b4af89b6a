"""Reads the credentials again while the process runs: on SIGHUP, and when a secret's file changes."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue

import structlog

from common import settings
from common.errors import ConfigError
from common.settings import Credentials, Environment

log = structlog.get_logger(__name__)

_CHECK_EVERY_S = 1.0
_FILES = ("BYBIT_API_KEY_FILE", "BYBIT_API_SECRET_FILE")
FileVersion = tuple[int, int]
"""A file's modification time in nanoseconds, and its inode."""


class CredentialsWatch:
    """Calls `renewed` with the credentials of the environment; invalid ones are logged and change nothing."""

    name = "credentials"

    def __init__(
        self,
        environment: Callable[[], Mapping[str, str]],
        renewed: Callable[[Credentials | None], None],
        check_every_s: float = _CHECK_EVERY_S,
    ) -> None:
        self._environment = environment
        self._renewed = renewed
        self._check_every_s = check_every_s
        self._requests: SimpleQueue[None] = SimpleQueue()  # holds one: a Queue's lock could deadlock a signal handler

    def request(self) -> None:
        """Read the credentials soon. Safe in a signal handler; requests that still wait are one."""
        if self._requests.empty():
            self._requests.put(None)

    def run(self, stop: threading.Event) -> None:
        before = self._versions()
        while not stop.is_set():
            try:
                self._requests.get(timeout=self._check_every_s)
            except Empty:
                if self._versions() == before:
                    continue
            before = self._versions()
            self._read()

    def _read(self) -> None:
        try:
            env = Environment(self._environment())
            found = settings.credentials(env)
            env.checked()
        except ConfigError as error:
            log.error("new credentials invalid; the old ones stay in use", error=str(error))
            return
        log.info("credentials read", given=found is not None)
        self._renewed(found)

    def _versions(self) -> tuple[FileVersion | None, ...]:
        try:
            values = self._environment()
        except ConfigError:  # it is being written or cannot be read now: the next check may succeed
            return ()
        return tuple(_version(values.get(name, "")) for name in _FILES)


def _version(path: str) -> FileVersion | None:
    try:
        found = Path(path).stat() if path else None
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_ino) if found else None
