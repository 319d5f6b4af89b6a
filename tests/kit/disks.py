"""Small disks that a test can fill; mounting them requires root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A tmpfs of `size` bytes, mounted on the folder for this block."""
    if os.geteuid() != 0:
        assert os.environ.get("CI") != "true", "CI=true promises root"
        pytest.skip("only root may mount a small disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill the remaining space; return the file that occupies it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


def remount(folder: Path, mode: str) -> None:
    """Mount the disk again; `mode` is `ro` or `rw`."""
    subprocess.run(["mount", "-o", f"remount,{mode}", folder], check=True)
