"""Packages of the distribution, installed so that none of their services starts, now or with the machine.

Meanwhile two files of ours stand in system folders, and a record names the packages. The run after one that was killed
finds all three: it removes the files, and repairs those packages and no others.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.run import commands
from deploy.run.screen import Failure, Step

_SIGNATURE = "# Written by ws-gateway while it installs packages, and removed afterwards."
_WAIT_S = 300.0  # a fresh machine may be busy with its own upgrades
_PAUSE_S = 0.2
_UNITS = {"postgresql": ["postgresql"], "rabbitmq-server": ["rabbitmq-server", "epmd"], "nginx": ["nginx"]}
_APT = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={_WAIT_S:.0f}", "-o", "Dpkg::Use-Pty=0"]
_APT += ["-o", "Dpkg::Options::=--force-confold"]
_INSTALL = [*_APT, "install", "-y", "-f", "--no-install-recommends"]
_FINISHED = ("installed", "not-installed", "config-files")
_TO_CONFIGURE = ("unpacked", "half-configured", "triggers-awaited", "triggers-pending")


@dataclass(frozen=True, slots=True)
class Files:
    """Files that an installation writes besides the packages, below `root` (a temporary folder in tests)."""

    root: Path = Path("/")

    @property
    def policy(self) -> Path:
        """A script that packages run before they start a service; exit status 101 forbids it."""
        return self.root / "usr/sbin/policy-rc.d"

    @property
    def clusters(self) -> Path:
        """The setting that keeps the package of PostgreSQL from creating a cluster."""
        return self.root / "etc/postgresql-common/createcluster.conf"

    @property
    def record(self) -> Path:
        """The list of packages that are being installed; removed afterwards."""
        return self.root / "var/lib/ws-gateway/installing"

    def put(self, packages: Iterable[str]) -> None:
        """Write our files; existing files of others are not changed."""
        self.record.parent.mkdir(parents=True, exist_ok=True)
        _replace(self.record, "".join(f"{name}\n" for name in sorted(packages)), 0o644)
        if not self.policy.exists():
            _replace(self.policy, f"#!/bin/sh\n{_SIGNATURE}\nexit 101\n", 0o755)
        if not self.clusters.exists():
            self.clusters.parent.mkdir(exist_ok=True)
            _replace(self.clusters, f"{_SIGNATURE}\ncreate_main_cluster = false\n", 0o644)

    def remove(self) -> None:
        """Allow services to start again; the record stays, see `finish`."""
        for path in (self.policy, self.clusters, self.record):
            _draft(path).unlink(missing_ok=True)
        if _is_ours(self.policy):
            self.policy.unlink()
        if _is_ours(self.clusters):
            self._restore_clusters()

    def finish(self) -> None:
        self.record.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty, or missing
            self.record.parent.rmdir()

    def recorded(self) -> set[str]:
        """The packages of an installation that was interrupted."""
        try:
            return set(self.record.read_text().split())
        except FileNotFoundError:
            return set()

    def left(self) -> bool:
        """Whether an earlier installation was interrupted and must be finished."""
        return bool(self.recorded()) or _is_ours(self.policy) or _is_ours(self.clusters)

    def _restore_clusters(self) -> None:
        self.clusters.with_name(f"{self.clusters.name}.ucf-dist").unlink(missing_ok=True)
        packaged = self.root / "usr/share/postgresql-common/createcluster.conf"
        if packaged.exists():
            _replace(self.clusters, packaged.read_text(), 0o644)
        else:
            self.clusters.unlink()


def install(packages: Collection[str], step: Step, files: Files | None = None) -> None:
    """Install these packages and finish an interrupted installation; requires root."""
    files = files or Files()
    with _one_at_a_time(step):
        _wait_for(step, _dpkg_is_free)
        ours = files.recorded()
        refuse_unfinished(unfinished(_states()) - ours)
        if packages:
            _run(step, [*_APT, "update"])
            ours |= _planned(packages)
        try:
            files.put(ours)
            _repair(step, ours)
            if wanted := set(packages) | (ours & set(_UNITS)):
                _run(step, [*_INSTALL, *sorted(wanted)])
        finally:
            for unit in sorted(unit for package in ours for unit in _UNITS.get(package, [])):
                _disable(unit)
            files.remove()
        files.finish()


def unfinished(states: Mapping[str, str]) -> set[str]:
    """Packages whose installation is incomplete, although their programs may exist already."""
    return {name for name, state in states.items() if state not in _FINISHED and not state.startswith("triggers-")}


def states_of(packages: Collection[str]) -> dict[str, str]:
    """The dpkg state of each known package; empty on a system without dpkg."""
    if shutil.which("dpkg-query") is None:
        return {}
    return _states(packages)


def _states(packages: Collection[str] = ()) -> dict[str, str]:
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    found = subprocess.run(query, check=False, capture_output=True, text=True).stdout
    return dict(line.split() for line in found.splitlines())


def _planned(packages: Collection[str]) -> set[str]:
    """The packages that apt would install, dependencies included."""
    found = subprocess.run([*_INSTALL, "-s", *packages], check=False, capture_output=True, text=True).stdout
    return {line.split()[1] for line in found.splitlines() if line.startswith("Inst ")} | set(packages)


def refuse_unfinished(foreign: Collection[str]) -> None:
    if foreign:
        raise Failure(
            f"these packages are not fully installed, and not by us: {', '.join(sorted(foreign))}.\n"
            "Finish them as root with `dpkg --configure -a`, then run again"
        )


def _repair(step: Step, ours: Collection[str]) -> None:
    """Bring dpkg into a state that apt accepts: journal written back, unpacked packages configured."""
    subprocess.run(
        ["dpkg", "--set-selections"], input=b"", check=False, capture_output=True
    )  # opens and closes the journal
    states = _states()
    if unpacked := sorted(name for name in ours if states.get(name) in _TO_CONFIGURE):
        with contextlib.suppress(Failure):  # apt resolves what still lacks a package
            _run(step, ["dpkg", "--force-confold", "--configure", *unpacked])
    if torn := sorted(name for name in ours if states.get(name) == "half-installed"):
        _run(step, [*_INSTALL, "--reinstall", *torn])


def _disable(unit: str) -> None:
    """Disable the unit at boot, whether systemd is running or not."""
    if shutil.which("systemctl"):
        names = [f"{unit}.service", f"{unit}.socket"]
        subprocess.run(["systemctl", "disable", *names], check=False, capture_output=True)
    for link in Path("/etc/systemd/system").glob(f"*.wants/{unit}.*"):
        link.unlink()
    if Path("/etc/init.d", unit).exists() and shutil.which("update-rc.d"):
        subprocess.run(["update-rc.d", unit, "disable"], check=False, capture_output=True)


@contextlib.contextmanager
def _one_at_a_time(step: Step) -> Iterator[None]:
    """Let clones install one after the other: the first to finish would remove the files of the other."""
    folder = os.open("/var/lib/dpkg", os.O_RDONLY)
    try:
        _wait_for(step, lambda: _taken(lambda: fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)))
        yield
    finally:
        os.close(folder)


def _dpkg_is_free() -> bool:
    """Wait for the apt of a killed run, which may still need its files."""
    with open("/var/lib/dpkg/lock-frontend", "w") as file:
        return _taken(lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB))


def _taken(lock: Callable[[], object]) -> bool:
    try:
        lock()
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _wait_for(step: Step, free: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not free():
        if time.monotonic() > deadline:
            raise Failure(
                f"another program has been installing packages for {_WAIT_S:.0f} s: run again when it is done"
            )
        step.progress("waiting for another installation")
        time.sleep(_PAUSE_S)


def _run(step: Step, command: list[str]) -> None:
    env = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    commands.run(step, command, env=env, shown=_progress)


def _progress(line: str) -> str | None:
    first, _, rest = line.partition(" ")
    if first.startswith(("Get:", "Hit:")):
        return f"downloading {' '.join(rest.split()[3:4])}"
    return line if first in ("Unpacking", "Setting", "Reading") else None


def _replace(path: Path, text: str, mode: int) -> None:
    """Write the file atomically, so that it is complete or absent after a kill."""
    draft = _draft(path)
    draft.write_text(text)
    draft.chmod(mode)
    draft.rename(path)


def _draft(path: Path) -> Path:
    return path.with_name(f"{path.name}.ws-gateway")


def _is_ours(path: Path) -> bool:
    try:
        return _SIGNATURE in path.read_text(errors="replace")
    except OSError:  # missing or unreadable, hence not ours
        return False
