"""The virtual environment .venv with exactly the locked packages and the project itself."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

from deploy.run import commands
from deploy.run.screen import Failure, Screen, Step

_LOCKS = {"run": "requirements.lock", "dev": "requirements-dev.lock"}


def provide(root: Path, screen: Screen, kind: str) -> None:
    """`kind` is run or dev; what is needed for dev is enough to run."""
    venv = root / ".venv"
    wanted = digests(root)
    stamp = venv / "ws-gateway.stamp"
    done = _read(stamp)
    if done.get(kind) == wanted[kind] or (kind == "run" and done.get("dev") == wanted["dev"]):
        return
    with screen.step(f"Python packages of {_LOCKS[kind]} in .venv") as step:
        stamp.unlink(missing_ok=True)
        if done.get("root", str(root)) != str(root):
            shutil.rmtree(venv)  # its scripts name the interpreter by its old path
        try:
            _install(root, venv, step, _LOCKS[kind])
        except Failure:
            if not venv.exists():
                raise
            shutil.rmtree(venv)  # half an installation can be beyond repair
            _install(root, venv, step, _LOCKS[kind])
        stamp.write_text(json.dumps({"root": str(root), kind: wanted[kind]}))


def digests(root: Path) -> dict[str, str]:
    """One per kind, over everything that decides what .venv has to hold."""
    common = (root / "pyproject.toml").read_bytes() + f"{root} {sys.version}".encode()
    return {kind: hashlib.sha256(common + (root / lock).read_bytes()).hexdigest() for kind, lock in _LOCKS.items()}


def _install(root: Path, venv: Path, step: Step, lock: str) -> None:
    if not (venv / "bin" / "python").exists():
        commands.run(step, [sys.executable, "-m", "venv", "--clear", venv], shown=lambda _: "making .venv")
    pip: list[str | Path] = [
        venv / "bin" / "python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
    ]
    commands.run(step, [*pip, "--require-hashes", "-r", lock], cwd=root, shown=_pip_progress)
    commands.run(step, [*pip, "--no-deps", "--no-build-isolation", "-e", "."], cwd=root, shown=_pip_progress)


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
