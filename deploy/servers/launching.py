"""Launching private servers: a clean environment, an unprivileged user, and an end together with the parent."""

import ctypes
import os
import pwd
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deploy.servers.reaching import SystemUser, Unreachable, make_reachable

_PR_SET_PDEATHSIG = 1
_FOUND_BY = ("SUPERVISOR_SERVER_URL", "SUPERVISOR_PROCESS_NAME")  # by these `make stop` finds orphans of supervisord


class LaunchError(Exception):
    """The server cannot be started; the text contains the remedy."""


def required(env: Mapping[str, str], name: str) -> str:
    if not env.get(name):
        raise LaunchError(f"{name} is not set")
    return env[name]


def port(env: Mapping[str, str], name: str) -> int:
    text = required(env, name)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise LaunchError(f"{name}={text!r} is not a port: allowed are 1 to 65535")
    return int(text)


def program(name: str, *folders: str) -> Path:
    found = shutil.which(name, path=os.pathsep.join(folders)) or shutil.which(name)
    if found is None:
        raise LaunchError(f"{name} is not installed")
    return Path(found)


def account_for(folder: Path, user: str) -> SystemUser:
    """The user for this data: the current one, or for root the owner of the folder; data of root is given to `user`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return SystemUser(os.geteuid(), os.getegid())
    owner = folder.stat()
    if owner.st_uid != 0:
        return SystemUser(owner.st_uid, owner.st_gid)
    account = account_of(user)
    give(folder, account)
    return account


def give(folder: Path, account: SystemUser) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def step_down_into(folders: Sequence[Path], account: SystemUser) -> None:
    """Become the user, with these folders reachable; where mounting is not allowed, continue as root with a warning."""
    try:
        make_reachable(folders, account)
    except Unreachable as error:
        print(f"warning: this runs as root, because {error}", file=sys.stderr, flush=True)
    else:
        step_down(account)


def step_down(account: SystemUser) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(account.gid)
        os.setuid(account.uid)


def clean_environment(env: Mapping[str, str], **more: str) -> dict[str, str]:
    """The environment of a server: neither our secrets nor variables that it would interpret itself."""
    kept = {name: env[name] for name in ("PATH", *_FOUND_BY) if name in env}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"} | kept | more


def become(command: Iterable[str | Path], env: Mapping[str, str], *, leash: int) -> None:
    """Replace this process by the command, which gets the signal `leash` when its parent dies."""
    arguments = [str(part) for part in command]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, leash, 0, 0, 0)
    os.execve(arguments[0], arguments, env)


def refuse(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 1


def account_of(user: str) -> SystemUser:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise LaunchError(f"the user {user!r} does not exist, and nothing is run as root instead") from None
    return SystemUser(entry.pw_uid, entry.pw_gid)
