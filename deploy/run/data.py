"""The contents of .run/ and .venv/, and whether they may be removed."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.run.screen import Failure, Screen

OVERRIDE = "WS_GATEWAY_CLEAN"
_STAND_IN = "simulator"


def remember(root: Path, environment: str) -> None:
    """Record whose data is kept here, because .env may have changed by the time of removal."""
    folder = root / ".run"
    folder.mkdir(mode=0o700, exist_ok=True)
    known = environments(root) | {environment}
    (folder / "environments").write_text("".join(f"{name}\n" for name in sorted(known)))


def environments(root: Path) -> set[str]:
    try:
        return set((root / ".run" / "environments").read_text().split())
    except FileNotFoundError:
        return set()


def permit(root: Path) -> None:
    """Ask before deleting data of a real account."""
    real = sorted(environments(root) - {_STAND_IN})
    if real and os.environ.get(OVERRIDE) != "yes":
        ask(root, real, sys.stdin.isatty(), input)


def remove(root: Path, screen: Screen) -> None:
    for name in (".run", ".venv"):
        if (root / name).exists():
            with screen.step(f"removed {name}/"):
                shutil.rmtree(root / name)


def ask(root: Path, real: list[str], terminal: bool, answer: Callable[[str], str]) -> None:
    what = f"{root / '.run'} holds balances and events of a real account ({', '.join(real)})"
    if not terminal:
        raise Failure(f"{what}: nothing was removed. To remove it unasked: make clean {OVERRIDE}=yes")
    if answer(f"{what}. Type yes to remove it: ").strip() != "yes":
        raise Failure("nothing was removed")
