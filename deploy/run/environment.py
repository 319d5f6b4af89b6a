"""The virtual environment .venv with exactly the locked packages and the project itself."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from deploy.run import commands
from deploy.run.screen import Failure, Screen, Step

_LOCKS = {"run": "requirements-simulator.lock", "dev": "requirements-dev.lock"}
_BUILD_LOCK = "requirements-build.lock"


def provide(root: Path, screen: Screen, kind: str) -> None:
    """Create or update .venv; `kind` is run or dev, and dev includes run."""
    venv = root / ".venv"
    wanted = digests(root)
    stamp = venv / "ws-gateway.stamp"
    done = _read(stamp)
    if done.get(kind) == wanted[kind] or (kind == "run" and done.get("dev") == wanted["dev"]):
        return
    with screen.step(f"Python packages of {_LOCKS[kind]} in .venv") as step:
        stamp.unlink(missing_ok=True)
        if done.get("root", str(root)) != str(root):
            shutil.rmtree(venv)  # its scripts contain the old path of the interpreter
        try:
            _install(root, venv, step, _LOCKS[kind])
        except Failure:
            if not venv.exists():
                raise
            shutil.rmtree(venv)  # an incomplete installation may not be repairable
            _install(root, venv, step, _LOCKS[kind])
        stamp.write_text(json.dumps({"root": str(root), kind: wanted[kind]}))


def digests(root: Path) -> dict[str, str]:
    """A digest per kind of everything that determines the content of .venv."""
    common = (root / "pyproject.toml").read_bytes() + (root / _BUILD_LOCK).read_bytes()
    common += f"{root} {sys.version}".encode()
    return {kind: hashlib.sha256(common + (root / lock).read_bytes()).hexdigest() for kind, lock in _LOCKS.items()}


def _install(root: Path, venv: Path, step: Step, lock: str) -> None:
    if not (venv / "bin" / "python").exists():
        commands.run(step, [sys.executable, "-m", "venv", "--clear", venv], shown=lambda _: "making .venv")
    pip: list[str | Path] = [venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    # A lock names every package. A pip that resolves all the same may find a newer release, and refuses it unhashed.
    locked = [*pip, "install", "--no-deps", "--require-hashes"]
    commands.run(step, [*locked, "-r", lock], cwd=root, shown=_pip_progress)
    with tempfile.TemporaryDirectory(prefix="ws-gateway-build-") as build:  # not needed to run
        commands.run(step, [*locked, "--target", build, "-r", _BUILD_LOCK], cwd=root, shown=_pip_progress)
        ourselves = [*pip, "install", "--no-deps", "--no-build-isolation", "-e", "."]
        commands.run(step, ourselves, cwd=root, env=dict(os.environ) | {"PYTHONPATH": build}, shown=_pip_progress)
    commands.run(step, [*pip, "check"], cwd=root, shown=lambda _: "checking")


def _pip_progress(line: str) -> str | None:
    words = line.split()
    if words[0] in ("Collecting", "Downloading", "Installing", "Obtaining"):
        return " ".join(words[:2]) if words[0] != "Installing" else "installing"
    return None


def _read(stamp: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return {}
    return found
