"""Other programs, while their progress is shown."""

import sys
from io import StringIO

import pytest

from deploy.run import commands, processes
from deploy.run.screen import Failure, Screen, Step


class Recording(Step):
    """Remembers what would be shown, and may be interrupted by it."""

    def __init__(self, interrupt_at: str = "") -> None:
        super().__init__(Screen(StringIO()), "step")
        self.texts: list[str] = []
        self._interrupt_at = interrupt_at

    def progress(self, text: str = "") -> None:
        self.texts.append(text)
        if self._interrupt_at and text.startswith(self._interrupt_at):
            raise KeyboardInterrupt


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_lines_become_progress() -> None:
    step = Recording()
    commands.run(
        step, python("print('Get:1 a\\nnoise\\nGet:2 b')"), shown=lambda line: line[4:] if "Get" in line else None
    )
    assert step.texts[-1] == "2 b"


def test_a_failure_holds_the_last_words() -> None:
    with pytest.raises(Failure, match=r"(?s)ended with status 3:\nfirst\nlast$"):
        commands.run(Recording(), python("print('first\\nlast'); exit(3)"))


def test_an_interrupt_takes_the_grandchildren_along() -> None:
    sleeper = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    seen: list[str] = []

    def shown(line: str) -> str:
        seen.append(line)
        return "pid"

    with pytest.raises(KeyboardInterrupt):
        commands.run(Recording("pid"), python(sleeper), shown=shown)
    assert processes.gone([int(seen[0])], within_s=5)
