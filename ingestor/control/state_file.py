"""A small file that is replaced as a whole, so that a crash leaves the old content or the new one."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StateFile:
    """`former` is the name that an earlier release used: it is read while `path` does not exist, and then removed."""

    path: Path
    former: Path | None = None

    def read(self) -> bytes:
        """The content. Raises FileNotFoundError on the first start, and any other OSError of the disk."""
        return self._existing().read_bytes()

    def modified_ns(self) -> int:
        """Unix time of the last change in nanoseconds; raises OSError."""
        return self._existing().stat().st_mtime_ns

    def replace(self, content: bytes) -> None:
        """The content is on disk when this returns; raises OSError, and then the old content is still there."""
        new = self.path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        if self.former is not None and self.former.exists():
            with suppress(OSError):
                self._remove_former(self.former)

    def _existing(self) -> Path:
        if self.former is not None and not self.path.exists() and self.former.exists():
            return self.former
        return self.path

    def _remove_former(self, former: Path) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # a power failure must not leave neither of the two
        finally:
            os.close(folder)
        former.unlink()
