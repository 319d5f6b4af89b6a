"""Exit together with the `make` that started this process."""

import contextlib
import ctypes
import os
import re
import signal
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CHECK_EVERY_S = 0.2


def follow() -> None:
    """Interrupt this process when its parent dies or is interrupted.

    A terminal sends Ctrl-C to both. Other senders may signal make alone: it then waits for its child, and the only
    visible difference is that it no longer catches the signal.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    parent = os.getppid()
    if _name(parent) == "make" and not _has(parent, "SigIgn", signal.SIGINT):
        threading.Thread(target=_watch, args=[parent], name="caller", daemon=True).start()


def _watch(parent: int) -> None:
    never = threading.Event()
    while _has(parent, "SigCgt", signal.SIGINT):
        never.wait(_CHECK_EVERY_S)
    os.kill(os.getpid(), signal.SIGINT)


def _has(pid: int, kind: str, number: signal.Signals) -> bool:
    with contextlib.suppress(OSError):
        found = re.search(rf"^{kind}:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)
    return False


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
