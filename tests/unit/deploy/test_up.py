"""`make run` while it waits for what it started."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.run import up
from deploy.run.screen import Failure, Screen
from deploy.run.supervision import Program, Supervisor


class Supervised(Supervisor):
    """One whose programs and logs are given."""

    def __init__(self, *programs: Program) -> None:
        super().__init__(Path("/nowhere"))
        self._programs = list(programs)

    def programs(self) -> list[Program]:
        return self._programs

    def log_tail(self, program: str, lines: int = 15) -> Sequence[str]:
        return ["an earlier start", f"{program}: A='b': must be c"][-lines:]


def waited(*programs: Program) -> None:
    names = [program.name for program in programs]
    with Screen().step("healthy") as step:
        up.wait_for(Supervised(*programs), names, lambda: False, step, lambda: "")


def test_a_program_that_ended_over_a_wrong_setting_is_reported_at_once_with_its_line():
    with pytest.raises(Failure) as failure:
        waited(Program("ingestor", "RUNNING", 0), Program("api", "EXITED", 78))
    assert str(failure.value) == "api does not run, a setting is wrong:\napi: A='b': must be c"
