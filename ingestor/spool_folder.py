"""The folder of the spool belongs to one ingestor at a time."""

import errno
import fcntl
from pathlib import Path
from typing import IO

import structlog

from common.errors import ConfigError

log = structlog.get_logger(__name__)

_DISK_TAKES_NOTHING = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)


def lock(folder: Path) -> IO[str] | None:
    """Lock the folder for as long as the returned file is open; None where the disk cannot even hold a lock.

    Raises ConfigError for a folder that is not writable, or that another ingestor uses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _opened(folder / "lock")
    except OSError as error:
        if error.errno in _DISK_TAKES_NOTHING:
            log.error("spool folder not locked", folder=str(folder), error=str(error))
            return None
        raise ConfigError(f"WS_GATEWAY_SPOOL_DIR={str(folder)!r}: must be a writable folder ({error})") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigError(f"WS_GATEWAY_SPOOL_DIR={str(folder)!r}: must not be in use by another ingestor") from error
    return file


def _opened(path: Path) -> IO[str]:
    """A disk that has become read-only still lets the file of an earlier run be locked."""
    try:
        return path.open("a")
    except OSError as error:
        if error.errno in _DISK_TAKES_NOTHING and path.exists():
            return path.open()
        raise
