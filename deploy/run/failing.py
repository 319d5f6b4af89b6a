"""Which supervised programs will not come up by themselves."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from common.entrypoint import CONFIG
from deploy.run.supervision import Program

WRONG_SETTING = "a setting is wrong"
KEEPS_ENDING = "it keeps ending"
_FAILING_FOR_S = 6.0  # a program that has kept ending for so long will not heal by itself


@dataclass(slots=True)
class Failing:
    """Fed with what supervisord says, again and again; `programs` are those to give up on, each with the reason."""

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
