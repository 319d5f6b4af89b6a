"""Outlives the test run and removes its remaining processes and files: `python -m tests.kit.reaper FOLDER`.

It learns of the end by its standard input, which closes however pytest ends. A run that gets to its end cleans up by
itself and prints a line first.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from deploy.run import processes
from tests.kit.children import MARK

DONE = b"done\n"
_ENDS_WITHIN_S = 10.0
_SHARED_MEMORY = Path("/dev/shm")


def left_of(folder: Path, spare: Collection[int] = ()) -> list[int]:
    """Running processes with the mark of the run in their environment, or with a working directory in its folder."""
    marked = set(processes.with_variable(MARK, str(folder)))
    inside = {
        pid for pid in processes.all_pids() if str(folder) in f"{working_folder(pid)} {processes.command_of(pid)}"
    }
    return sorted(pid for pid in (marked | inside) - {os.getpid(), *spare} if processes.alive(pid))


def clean_up(folder: Path) -> None:
    """End all processes of the run and remove its files outside the project."""
    while left := left_of(folder):  # again: one of them may just have been starting another
        sockets = {place for pid in left if (place := _socket_folder(pid))}
        processes.send(left, signal.SIGKILL)
        processes.gone(left, _ENDS_WITHIN_S)
        metrics = {place for pid in left for place in _SHARED_MEMORY.glob(f"wsgw-api-metrics-{pid}-*")}
        for place in sockets | metrics:
            shutil.rmtree(place, ignore_errors=True)
    _remove(folder)


def working_folder(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/cwd").readlink())
    return ""


def _remove(folder: Path) -> None:
    """Unmount disks of tests in the folder, then remove it."""
    for line in Path("/proc/mounts").read_text().splitlines():
        if (place := line.split()[1]).startswith(f"{folder}/"):
            subprocess.run(["umount", "-l", place], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _socket_folder(pid: int) -> Path | None:
    """The folder of the socket of the supervisord that started this process, if it has one of its own."""
    with contextlib.suppress(OSError):
        environ = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes())
        if found := re.search(r"SUPERVISOR_SERVER_URL=unix://(/tmp/ws-gateway-[^/]+)/", environ):
            return Path(found[1])
    return None


def main(folder: Path) -> None:
    if sys.stdin.buffer.read() != DONE:
        clean_up(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
