"""A private folder, and what an unprivileged user gets to see of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.servers import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives up rights")

LOOK = """
import os, sys
from pathlib import Path
from deploy.servers.launching import step_down_into
from deploy.servers.reaching import SystemUser
root, kept = map(Path, sys.argv[1:])
step_down_into([root / "code", kept], SystemUser(65534, 65534))
print(os.geteuid(), (root / "code/program").read_text(), sorted(path.name for path in root.iterdir()))
(kept / "written").touch()
"""


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """What root keeps for itself: code that all may read, and a secret that all could read who got there."""
    root = tmp_path / "home"
    root.mkdir()
    for name in ("code/program", "secrets/key"):
        (root / name).parent.mkdir()
        (root / name).write_text(name)
    root.chmod(0o700)
    return root


def look(root: Path, kept: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOOK, str(root), str(kept)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)


def test_what_is_named_is_reached_and_nothing_beside_it(private: Path):
    kept = private / "code/private/spool"
    kept.mkdir(parents=True)
    kept.parent.chmod(0o700)
    os.chown(kept, 65534, 65534)
    done = look(private, kept)
    assert done.stdout == "65534 code/program ['code']\n", done.stderr
    assert (kept / "written").stat().st_uid == 65534


def test_other_processes_see_no_difference(private: Path):
    mounts = Path("/proc/self/mounts").read_text()
    look(private, private / "code")
    assert Path("/proc/self/mounts").read_text() == mounts
    assert private.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in private.iterdir()) == ["code", "secrets"]


def test_where_nothing_may_be_mounted_root_stays_root_with_a_warning(private: Path):
    without = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    command = [*without, sys.executable, "-c", LOOK, str(private), str(private / "code")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout == "0 code/program ['code', 'secrets']\n"
    assert f"warning: this runs as root, because {private / 'code'}" in done.stderr
