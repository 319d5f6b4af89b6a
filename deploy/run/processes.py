"""Other processes: their children, how they were started, how to stop them."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_PAUSE_S = 0.05


def family_of(pid: int) -> list[int]:
    """A process and all its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for other in all_pids():
        with contextlib.suppress(OSError):
            children.setdefault(parent_of(other), []).append(other)
    found = [pid]
    for member in found:  # grows during the loop
        found += children.get(member, [])
    return found


def all_pids() -> Iterator[int]:
    return (int(folder.name) for folder in Path("/proc").glob("[0-9]*"))


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return _stat(pid)[0] != "Z"
    return False


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
        return " ".join(words)
    return ""


def with_variable(name: str, value: str) -> list[int]:
    """Processes whose environment contains exactly this, as far as it is readable."""
    wanted = f"{name}={value}".encode()
    found = []
    for pid in all_pids():
        with contextlib.suppress(OSError):
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def send(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def gone(pids: Collection[int], within_s: float, waiting: Callable[[], None] = lambda: None) -> bool:
    """Wait until all have ended; False when the time is over."""
    return until(lambda: not any(map(alive, pids)), within_s, waiting)


def until(question: Callable[[], bool], within_s: float, waiting: Callable[[], None] = lambda: None) -> bool:
    deadline = time.monotonic() + within_s
    while not question():
        if time.monotonic() > deadline:
            return False
        waiting()
        time.sleep(_PAUSE_S)
    return True


def end(pids: Collection[int], within_s: float) -> None:
    """SIGTERM, then SIGKILL for those that do not end."""
    send(pids, signal.SIGTERM)
    if not gone(pids, within_s):
        send(pids, signal.SIGKILL)
        gone(pids, within_s)


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
