"""What .venv has to hold."""

import json
import sys
from io import StringIO
from pathlib import Path

import pytest

from deploy.run import commands, environment
from deploy.run.screen import Screen

LOCKS = ("requirements-simulator.lock", "requirements-dev.lock", "requirements-build.lock")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", *LOCKS):
        (tmp_path / name).write_text(name)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    return tmp_path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that would have run."""
    ran: list[str] = []
    monkeypatch.setattr(commands, "run", lambda _, command, **__: ran.append(" ".join(map(str, command))))
    return ran


def stamp(root: Path, **digests: str) -> None:
    (root / ".venv" / "ws-gateway.stamp").write_text(json.dumps(digests))


def test_a_changed_lock_is_installed_once(root: Path, installed: list[str]) -> None:
    environment.provide(root, Screen(StringIO()), "run")
    assert installed[0].endswith("install --no-deps --require-hashes -r requirements-simulator.lock")
    assert installed[1].endswith("-r requirements-build.lock")
    assert "--no-deps --require-hashes --target" in installed[1]
    assert installed[2].endswith("install --no-deps --no-build-isolation -e .")
    assert installed[3].endswith("pip --disable-pip-version-check --no-input check")
    environment.provide(root, Screen(StringIO()), "run")
    assert len(installed) == 4


@pytest.mark.parametrize("changed", ["requirements-simulator.lock", "requirements-build.lock", "pyproject.toml"])
def test_what_has_changed_is_installed_again(root: Path, installed: list[str], changed: str) -> None:
    environment.provide(root, Screen(StringIO()), "run")
    (root / changed).write_text("newer")
    environment.provide(root, Screen(StringIO()), "run")
    assert len(installed) == 8


def test_what_tests_need_is_enough_to_run(root: Path, installed: list[str]) -> None:
    stamp(root, dev=environment.digests(root)["dev"])
    environment.provide(root, Screen(StringIO()), "run")
    environment.provide(root, Screen(StringIO()), "dev")
    assert installed == []


def test_what_runs_is_not_enough_for_tests(root: Path, installed: list[str]) -> None:
    stamp(root, run=environment.digests(root)["run"])
    environment.provide(root, Screen(StringIO()), "dev")
    assert "requirements-dev.lock" in installed[0]


def test_a_moved_clone_gets_its_environment_again(root: Path, installed: list[str]) -> None:
    environment.provide(root, Screen(StringIO()), "run")
    moved = root.rename(root.with_name("moved"))
    (moved / ".venv" / "of the old place").touch()
    (moved / ".venv" / "bin" / "activate").touch()
    with pytest.raises(FileNotFoundError):  # our commands make no new one
        environment.provide(moved, Screen(StringIO()), "run")
    assert not (moved / ".venv").exists()
    assert "-m venv" in installed[4]
