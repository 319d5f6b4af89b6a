"""Terminal output: one line per step with its duration, and one changing line during the step."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

_QUIET_S = 5.0  # interval of progress lines where a line cannot be rewritten
_WIDTH = 110


class Failure(Exception):
    """The run cannot continue; the text contains the reason and the remedy."""


class Step:
    """The current step."""

    def __init__(self, screen: "Screen", title: str) -> None:
        self.title = title
        self._screen = screen
        self._began_at = screen.clock()
        self._shown_at = self._began_at

    @property
    def took_s(self) -> float:
        return self._screen.clock() - self._began_at

    def progress(self, text: str = "") -> None:
        """Show progress; may be called often, because the screen limits its output."""
        if self._screen.rewrites:
            self._screen.rewrite(self._moving(text))
        elif self._screen.clock() - self._shown_at >= _QUIET_S:
            self._shown_at = self._screen.clock()
            self._screen.line(self._moving(text))

    def _moving(self, text: str) -> str:
        shown = f"     ...  {self.title}, {self.took_s:.0f} s" + (f": {text}" if text else "")
        return shown[:_WIDTH]


class Screen:
    def __init__(self, out: TextIO = sys.stdout, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.rewrites = out.isatty()
        self._out = out
        self._moving = False

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Print a line with the title, which the body may change, and the duration at the end of the block."""
        step = Step(self, title)
        if self.rewrites:
            step.progress()
        try:
            yield step
        except BaseException:
            self.line(f"  failed  {step.title} (after {step.took_s:.1f} s)")
            raise
        self.line(f"{step.took_s:6.1f} s  {step.title}")

    def line(self, text: str = "") -> None:
        start = "\r\033[K" if self._moving else ""
        self._moving = False
        self._write(f"{start}{text}\n")

    def rewrite(self, text: str) -> None:
        self._moving = True
        self._write(f"\r\033[K{text}")

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # a closed terminal must not stop the gateway
            self._out.write(text)
            self._out.flush()
