"""However a test run ends, it ends, and leaves nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.run import processes
from tests.kit import children, reaper
from tests.kit.children import MARK
from tests.kit.servers import ROOT
from tests.kit.waiting import eventually

_ENDS_WITHIN_S = 60.0
_STARTS = "import os, signal\nfrom tests.kit import children\n\ndef test_it(tmp_path):\n"
_LEAVES = _STARTS + "    print('left', children.start(['sleep', '600']).pid, tmp_path, flush=True)\n"
_CRASHES = _STARTS + "    os.kill(os.getpid(), signal.SIGSEGV)\n"
_MOUNTS = "    os.system(f'mount -t tmpfs tmpfs {tmp_path}') if os.geteuid() == 0 else None\n"
_HANGS = _STARTS + _MOUNTS + _LEAVES.removeprefix(_STARTS) + "    signal.pause()\n"


def begin(folder: Path, text: str, *arguments: str) -> "subprocess.Popen[str]":
    """A run of one test, with what the tests of this project have."""
    (folder / "test_one.py").write_text(text)
    ours = ["-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return children.start(
        [
            "env",
            "--default-signal=INT",
            sys.executable,
            "-m",
            "pytest",
            "-s",
            *ours,
            *arguments,
            folder / "test_one.py",
        ],
        env=dict(os.environ) | {"TMPDIR": str(folder)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        own_session=True,
    )


def left_by(run: "subprocess.Popen[str]") -> tuple[int, Path]:
    """The process that its test left, and the folder of the run."""
    assert run.stdout is not None
    message = next(line for line in run.stdout if "left " in line)
    pid, folder = message.partition("left ")[2].split()
    return int(pid), next(place for place in Path(folder).parents if place.name.startswith("ws-gateway-tests-"))


def test_a_process_that_outlives_its_test_fails_the_run_and_is_ended(tmp_path: Path):
    run = begin(tmp_path, _LEAVES)
    pid, folder = left_by(run)
    assert "outlived their test" in run.communicate(timeout=_ENDS_WITHIN_S)[0]
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert not processes.alive(pid)
    assert not folder.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_process_and_no_folder(tmp_path: Path, how: signal.Signals):
    run = begin(tmp_path, _HANGS)
    pid, folder = left_by(run)
    run.send_signal(how)
    run.communicate(timeout=_ENDS_WITHIN_S)
    eventually(lambda: not processes.alive(pid) and not folder.exists(), _ENDS_WITHIN_S, "all is gone")


def test_a_worker_that_crashes_ends_the_run(tmp_path: Path):
    run = begin(tmp_path, _CRASHES, "-n", "1")
    assert "crashed while running" in run.communicate(timeout=_ENDS_WITHIN_S)[0]
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert list(tmp_path.glob("ws-gateway-tests-*")) == []


def test_processes_are_found_by_their_mark_and_by_where_they_work(tmp_path: Path):
    marked = subprocess.Popen(["sleep", "600"], env=dict(os.environ) | {MARK: str(tmp_path)})
    inside = subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"]}, cwd=tmp_path)
    another = subprocess.Popen(["sleep", "600"])
    try:
        assert reaper.left_of(tmp_path) == sorted([marked.pid, inside.pid])
        reaper.clean_up(tmp_path)
        assert not tmp_path.exists()
        assert [processes.alive(each.pid) for each in (marked, inside, another)] == [False, False, True]
    finally:
        for each in (marked, inside, another):
            each.kill()
            each.wait(10)
