"""Makes folders below a private one, such as a clone in /root (0700), reachable for an unprivileged user.

In a mount namespace of this process an empty folder replaces the private one and contains only the folders to reach.
No permission on the disk changes, and the rest of the private folder stays unreachable.
"""

import ctypes
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18


@dataclass(frozen=True, slots=True)
class SystemUser:
    """The user that a server runs as."""

    uid: int
    gid: int


class Unreachable(Exception):
    """The user has no access, and this process may not mount anything, as in most containers."""


def make_reachable(paths: Sequence[Path], user: SystemUser) -> None:
    """Make the paths reachable for this process and its children. Raises Unreachable."""
    if all(private_parent(path, user) is None for path in paths):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(_CLONE_NEWNS), paths)
    _checked(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), paths)
    with ExitStack() as opened:
        descriptors = {path: os.open(path, os.O_PATH) for path in paths}
        for descriptor in descriptors.values():
            opened.callback(os.close, descriptor)
        for path in paths:
            while parent := private_parent(path, user):
                _checked(libc.mount(b"none", os.fsencode(parent), b"tmpfs", 0, b"mode=0755,size=1m"), paths)
                for other, descriptor in descriptors.items():
                    if other.is_relative_to(parent):
                        other.mkdir(parents=True, exist_ok=True)
                        source = f"/proc/self/fd/{descriptor}".encode()
                        _checked(libc.mount(source, os.fsencode(other), None, _MS_BIND | _MS_REC, None), paths)


def private_parent(path: Path, user: SystemUser) -> Path | None:
    """The topmost parent folder that the user may not traverse."""
    return next((parent for parent in reversed(path.parents) if not may_pass(parent, user)), None)


def may_pass(folder: Path, user: SystemUser) -> bool:
    state = folder.stat()
    if state.st_uid == user.uid:
        return bool(state.st_mode & 0o100)
    if state.st_gid == user.gid:
        return bool(state.st_mode & 0o010)
    return bool(state.st_mode & 0o001)


def _checked(result: int, paths: Sequence[Path]) -> None:
    if result != 0:
        reason = os.strerror(ctypes.get_errno())
        raise Unreachable(f"{', '.join(map(str, paths))} cannot be made reachable: {reason}")
