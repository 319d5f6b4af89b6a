"""Find supervised programs that will not start by themselves."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from common.entrypoint import CONFIG
from deploy.run.supervision import Program

WRONG_SETTING = "a setting is wrong"
KEEPS_ENDING = "it keeps ending"
_FAILING_FOR_S = 6.0  # a program that has exited repeatedly for this time does not recover by itself


@dataclass(slots=True)
class Failing:
    """Observes the states that supervisord reports; `programs` maps those that will not recover to the reason."""

    programs: dict[str, str] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)

    def look(self, seen: Iterable[Program], now: float) -> None:
        for program in seen:
            if program.state == "EXITED" and program.exit_status == CONFIG:
                self.programs[program.name] = WRONG_SETTING
            elif self._keeps_ending(program, now):
                self.programs[program.name] = KEEPS_ENDING

    def _keeps_ending(self, program: Program, now: float) -> bool:
        if program.state in ("BACKOFF", "FATAL"):
            self._since.setdefault(program.name, now)
        elif program.state == "RUNNING":
            self._since.pop(program.name, None)
        return now - self._since.get(program.name, now) > _FAILING_FOR_S
