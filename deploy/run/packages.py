"""PostgreSQL, RabbitMQ, Python's venv and nginx from the distribution, without starting or enabling its services."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.run import commands
from deploy.run.screen import Failure, Screen, Step
from deploy.servers import nginx, postgres, rabbitmq

_POLICY = Path("/usr/sbin/policy-rc.d")  # asked by each package before it starts a service; 101 means: do not
_CLUSTERS = Path("/etc/postgresql-common/createcluster.conf")
_PACKAGED_CLUSTERS = Path("/usr/share/postgresql-common/createcluster.conf")
_UNITS = {"postgresql": ["postgresql"], "rabbitmq-server": ["rabbitmq-server", "epmd"], "nginx": ["nginx"]}
_COMMANDS = {"run": "packages", "dev": "packages-dev"}
_LOCK_WAIT_S = 300  # a fresh machine may be busy with its own upgrades


@dataclass(frozen=True, slots=True)
class Missing:
    package: str
    needed_for: str


def missing(kind: str = "run") -> list[Missing]:
    """Of what running takes, or for the kind `dev` the tests."""
    found = []
    unfinished = _unfinished(("postgresql", "rabbitmq-server"))
    if not postgres.installed() or "postgresql" in unfinished:
        found.append(Missing("postgresql", "PostgreSQL"))
    if not rabbitmq.installed() or "rabbitmq-server" in unfinished:
        found.append(Missing("rabbitmq-server", "RabbitMQ"))
    if not _venv_possible():
        found.append(Missing("python3-venv", "Python's venv"))
    if kind == "dev" and not nginx.installed():
        found.append(Missing("nginx", "nginx"))
    return found


def provide(root: Path, screen: Screen, kind: str = "run") -> None:
    """Install what is missing, or end with the one command that does."""
    wanted = missing(kind)
    if not wanted:
        return
    with screen.step(f"{_listed(wanted)} installed from the distribution") as step:
        _install([each.package for each in wanted], step, _rights(root, wanted, _COMMANDS[kind]), _COMMANDS[kind])
    if still := missing(kind):
        raise Failure(f"installed, but not found afterwards: {_listed(still)}")


def _install(packages: Sequence[str], step: Step, rights: Sequence[str], command: str) -> None:
    if rights:  # our own steps need the rights too, not apt alone
        commands.run(step, [*rights, sys.executable, "-B", "-m", "deploy.run", command], cwd=Path.cwd())
        return
    env = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={_LOCK_WAIT_S}", "-o", "Dpkg::Use-Pty=0"]
    with _services_left_alone(packages):
        _repair(step)
        commands.run(step, [*apt, "update"], env=env, shown=_apt_progress)
        install = [*apt, "install", "-y", "--no-install-recommends", *packages]
        commands.run(step, install, env=env, shown=_apt_progress)


def _rights(root: Path, wanted: Sequence[Missing], command: str) -> list[str]:
    """What to put before a command so that it may install packages: nothing for root, sudo where it works."""
    if shutil.which("apt-get") is None:
        raise Failure(f"missing: {_listed(wanted)}. This system has no apt-get: install it yourself, then run again")
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        asked = ["sudo", "-v"] if sys.stdin.isatty() else ["sudo", "-n", "-v"]
        if subprocess.run(asked, check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return ["sudo", "-n"]
    raise Failure(
        f"missing: {_listed(wanted)}. Installing needs root, so run this once, then run again:\n"
        f"  su -c 'make -C {root} {command}'"
    )


@contextlib.contextmanager
def _services_left_alone(packages: Collection[str]) -> Iterator[None]:
    ours = [path for path in (_POLICY, _CLUSTERS) if not path.exists()]
    if _POLICY in ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    if _CLUSTERS in ours:
        _CLUSTERS.parent.mkdir(exist_ok=True)
        _CLUSTERS.write_text("create_main_cluster = false\n")
    try:
        yield
    finally:
        for package in packages:
            for unit in _UNITS.get(package, []):
                _disable(unit)
        if _POLICY in ours:
            _POLICY.unlink(missing_ok=True)
        if _CLUSTERS in ours:
            _CLUSTERS.unlink(missing_ok=True)
            _CLUSTERS.with_name("createcluster.conf.ucf-dist").unlink(missing_ok=True)
            if _PACKAGED_CLUSTERS.exists():
                shutil.copy(_PACKAGED_CLUSTERS, _CLUSTERS)


def _disable(unit: str) -> None:
    """Leave the unit as an administrator would who does not want it at boot, with systemd running or not."""
    if shutil.which("systemctl"):
        names = [f"{unit}.service", f"{unit}.socket"]
        subprocess.run(["systemctl", "disable", *names], check=False, capture_output=True)
    for link in Path("/etc/systemd/system").glob(f"*.wants/{unit}.*"):
        link.unlink()
    if Path("/etc/init.d", unit).exists() and shutil.which("update-rc.d"):
        subprocess.run(["update-rc.d", unit, "disable"], check=False, capture_output=True)


def _unfinished(packages: Collection[str]) -> set[str]:
    """Packages whose installation was interrupted: their programs may be there already."""
    if shutil.which("dpkg-query") is None:
        return set()
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    found = subprocess.run(query, check=False, capture_output=True, text=True).stdout
    states = dict(line.split() for line in found.splitlines())
    return {package for package, state in states.items() if state not in ("installed", "not-installed", "config-files")}


def _repair(step: Step) -> None:
    """An installation that was interrupted blocks the next one until its packages are configured."""
    if any(Path("/var/lib/dpkg/updates").iterdir()) or _half_installed():
        commands.run(step, ["dpkg", "--force-confold", "--configure", "-a"])


def _half_installed() -> bool:
    audit = subprocess.run(["dpkg", "--audit"], check=False, capture_output=True, text=True)
    return bool(audit.stdout.strip())


def _apt_progress(line: str) -> str | None:
    first, _, rest = line.partition(" ")
    if first.startswith(("Get:", "Hit:")):
        return f"downloading {' '.join(rest.split()[3:4])}"
    return line if first in ("Unpacking", "Setting", "Reading") else None


def _venv_possible() -> bool:
    return importlib.util.find_spec("ensurepip") is not None or Path(".venv/bin/python").exists()


def _listed(wanted: Sequence[Missing]) -> str:
    return ", ".join(each.needed_for for each in wanted)
