"""A lock: one start per clone at a time."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from deploy.run.screen import Failure


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    folder = root / ".run"
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(folder / "starting", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure("another start of this clone is under way") from None
        yield
