"""Run another program, show its progress, and never leave it running."""

import contextlib
import os
import selectors
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.run.screen import Failure, Step

_REMEMBERED = 25
_ENDS_WITHIN_S = 10.0


def run(
    step: Step,
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    shown: Callable[[str], str | None] = lambda line: line,
) -> None:
    """Wait for the command; `shown` turns its lines into progress texts. Raises Failure with its last lines."""
    arguments = [str(part) for part in command]
    as_another = arguments[0] == "sudo"  # must share our terminal, and we may not signal it
    child = subprocess.Popen(
        arguments,
        cwd=cwd,
        env=env,
        stdin=None if as_another else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=None if as_another else 0,
    )
    last: deque[str] = deque(maxlen=_REMEMBERED)
    try:
        _follow(child, step, last, shown)
        status = child.wait()
    except BaseException:
        _end(child, as_another)
        raise
    if status != 0:
        raise Failure("\n".join([f"{' '.join(arguments)} ended with status {status}:", *last]))


def _follow(child: subprocess.Popen[bytes], step: Step, last: deque[str], shown: Callable[[str], str | None]) -> None:
    assert child.stdout is not None
    text, rest = "", b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if selector.select(timeout=1):
                chunk = os.read(child.stdout.fileno(), 65536)
                if not chunk:
                    return
                *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
                for line in filter(None, (raw.decode(errors="replace").strip() for raw in lines)):
                    last.append(line)
                    text = shown(line) or text
            step.progress(text)


def _end(child: subprocess.Popen[bytes], as_another: bool) -> None:
    if as_another:
        subprocess.run(["sudo", "-n", "kill", "-INT", str(child.pid)], check=False, capture_output=True)
    else:
        _signal_group(child, signal.SIGINT)
    try:
        child.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.kill()
    if not as_another:
        _signal_group(child, signal.SIGKILL)
    child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
