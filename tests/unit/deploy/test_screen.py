"""What a person sees of a start."""

from io import StringIO

import pytest

from deploy.run.screen import Failure, Screen


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_step_ends_with_its_time() -> None:
    out, clock = StringIO(), Clock()
    with Screen(out, clock).step("schema"):
        clock.now = 1.25
    assert out.getvalue() == "   1.2 s  schema\n"


def test_without_a_terminal_a_long_step_shows_a_line_now_and_then() -> None:
    out, clock = StringIO(), Clock()
    with Screen(out, clock).step("download") as step:
        for clock.now in (1.0, 5.0, 6.0):
            step.progress("numpy")
    assert out.getvalue().splitlines() == ["     ...  download, 5 s: numpy", "   6.0 s  download"]


def test_on_a_terminal_progress_stays_on_one_line() -> None:
    out, clock = Terminal(), Clock()
    with Screen(out, clock).step("download") as step:
        step.progress("numpy")
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("\r\033[K   0.0 s  download\n")


def test_a_step_that_fails_is_marked() -> None:
    out, clock = StringIO(), Clock()
    with pytest.raises(Failure), Screen(out, clock).step("schema"):
        raise Failure("no")
    assert out.getvalue() == "  failed  schema (after 0.0 s)\n"
