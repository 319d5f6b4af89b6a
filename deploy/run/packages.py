"""Packages of the distribution: PostgreSQL, RabbitMQ and venv, and for the tests nginx and openssl."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.run import apt, commands
from deploy.run.screen import Failure, Screen, Step
from deploy.servers import nginx, postgres, rabbitmq

_COMMANDS = {"run": "packages", "dev": "packages-dev", "bare": "packages-bare"}
_FOR_BARE_MACHINES = {"debootstrap": "debootstrap", "iptables": "iptables", "ip": "iproute2", "nsenter": "util-linux"}


@dataclass(frozen=True, slots=True)
class MissingPackage:
    package: str
    needed_for: str


def missing(kind: str = "run") -> list[MissingPackage]:
    """Missing packages. Kind `run` covers make run, `dev` also the tests, `bare` also test-bare."""
    found = []
    unfinished = apt.unfinished(apt.states_of(("postgresql", "rabbitmq-server")))
    if not postgres.installed() or "postgresql" in unfinished:
        found.append(MissingPackage("postgresql", "PostgreSQL"))
    if not rabbitmq.installed() or "rabbitmq-server" in unfinished:
        found.append(MissingPackage("rabbitmq-server", "RabbitMQ"))
    if not _venv_possible():
        found.append(MissingPackage("python3-venv", "Python's venv"))
    if kind != "run" and not nginx.installed():
        found.append(MissingPackage("nginx", "nginx"))
    if kind != "run" and shutil.which("openssl") is None:
        found.append(MissingPackage("openssl", "certificates of the tests"))
    if kind == "bare":
        found += [
            MissingPackage(package, name) for name, package in _FOR_BARE_MACHINES.items() if shutil.which(name) is None
        ]
    return found


def provide(root: Path, screen: Screen, kind: str = "run") -> None:
    """Install missing packages and finish an interrupted installation; raises Failure with the command to run."""
    wanted = missing(kind)
    if not wanted and not apt.Files().left():
        return
    with screen.step(f"{_listed(wanted) or 'what an interrupted run began'} installed from the distribution") as step:
        _install([each.package for each in wanted], step, _rights(root, wanted, _COMMANDS[kind]), _COMMANDS[kind])
    if still := missing(kind):
        raise Failure(f"installed, but not found afterwards: {_listed(still)}")


def _install(packages: Sequence[str], step: Step, rights: Sequence[str], command: str) -> None:
    if rights:  # our own steps need them too, not only apt
        commands.run(step, [*rights, sys.executable, "-B", "-m", "deploy.run", command], cwd=Path.cwd())
    else:
        apt.install(packages, step)


def _rights(root: Path, wanted: Sequence[MissingPackage], command: str) -> list[str]:
    """The prefix of a command that installs packages: nothing for root, sudo where it works. Raises Failure."""
    need = f"missing: {_listed(wanted)}" if wanted else "an installation of packages was interrupted"
    if shutil.which("apt-get") is None:
        raise Failure(f"{need}. This system has no apt-get: install it yourself, then run again")
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        check = ["sudo", "-v"] if sys.stdin.isatty() else ["sudo", "-n", "-v"]
        if subprocess.run(check, check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return ["sudo", "-n"]
    raise Failure(
        f"{need}. Installing needs root, so run this once, then run again:\n  su -c 'make -C {root} {command}'"
    )


def _venv_possible() -> bool:
    return importlib.util.find_spec("ensurepip") is not None or Path(".venv/bin/python").exists()


def _listed(wanted: Sequence[MissingPackage]) -> str:
    return ", ".join(each.needed_for for each in wanted)
