"""Child processes that never outlive the test run, however it ends.

Each is on a leash: it gets SIGTERM when the thread that started it ends, so start it from the main thread. Each also
carries the mark of the run, by which `tests.kit.reaper` finds what is left in the end, children's children included.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

MARK = "WS_GATEWAY_TEST_RUN"
"""The variable with the folder of the run, inherited by the workers of pytest and all their children."""
_Output = int | IO[Any] | None


def start(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: _Output = subprocess.DEVNULL,
    stdout: _Output = None,
    stderr: _Output = subprocess.STDOUT,
    text: bool = False,
    own_session: bool = False,
) -> "subprocess.Popen[Any]":
    """Start a process; `env` is its environment without the mark, by default that of this process."""
    mark = {MARK: os.environ[MARK]} if MARK in os.environ else {}
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *map(str, command)],
        env=dict(os.environ if env is None else env) | mark,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=text,
        start_new_session=own_session,
    )
