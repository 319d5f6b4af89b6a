"""The commands behind the targets of the Makefile: `python -m deploy.run prepare|up|status|stop|…`.

Everything but `up` is plain standard library and runs with any Python from 3.11 on.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.run import caller, data, env_file, environment, packages
from deploy.run.alone import alone
from deploy.run.screen import Failure, Screen
from deploy.run.supervision import Supervisor

ROOT = Path(__file__).resolve().parents[2]

_INTERRUPTED = 130
_CONFIG = 78  # as in common/entrypoint.py, which cannot be imported before .venv exists
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def make_env(screen: Screen) -> int:
    made = env_file.make(ROOT)
    screen.line(f"         .env {'made, with random secrets' if made else 'is there'}")
    return 0


def prepare(screen: Screen, kind: str = "run") -> int:
    """Install everything that must be downloaded."""
    if kind == "run" and env_file.make(ROOT):
        screen.line("         .env made, with random secrets")
    with alone(ROOT):
        packages.provide(ROOT, screen, kind)
        environment.provide(ROOT, screen, "run" if kind == "run" else "dev")
    return 0


def up(screen: Screen) -> int:
    from deploy.run import up  # needs .venv

    with alone(ROOT):
        return up.up(ROOT, screen)


def provide_packages(screen: Screen, kind: str = "run") -> int:
    packages.provide(ROOT, screen, kind)
    return 0


def status(screen: Screen) -> int:
    if not Supervisor(ROOT).answers():
        screen.line("not running (make run starts it)")
        return 3
    return subprocess.run(_supervisorctl("status"), cwd=ROOT).returncode


def logs(_: Screen) -> int:
    files = sorted((ROOT / ".run" / "log").glob("*.log"))
    if not files:
        raise Failure("there are no logs yet (make run starts the gateway)")
    os.execvp("tail", ["tail", "-n", "20", "-F", *map(str, files)])


def stop(screen: Screen) -> int:
    with screen.step("stopping") as step:
        ended = Supervisor(ROOT).stop(step.progress)
        step.title = "stopped; data stays in .run/" if ended else "nothing was running"
    return 0


def clean(screen: Screen) -> int:
    data.permit(ROOT)
    stop(screen)
    data.remove(ROOT, screen)
    return 0


COMMANDS: dict[str, Callable[[Screen], int]] = {
    "env": make_env,
    "prepare": prepare,
    "prepare-dev": lambda screen: prepare(screen, "dev"),
    "prepare-bare": lambda screen: prepare(screen, "bare"),
    "packages": provide_packages,
    "packages-dev": lambda screen: provide_packages(screen, "dev"),
    "packages-bare": lambda screen: provide_packages(screen, "bare"),
    "up": up,
    "status": status,
    "logs": logs,
    "stop": stop,
    "clean": clean,
}


def main(name: str) -> int:
    os.chdir(ROOT)
    if os.geteuid() == 0:  # `su` keeps the PATH of the user, with which dpkg refuses to work
        os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)
    screen = Screen()
    try:
        caller.follow()
        return COMMANDS[name](screen)
    except KeyboardInterrupt:
        screen.line("interrupted")
        return _INTERRUPTED
    except Exception as error:
        if not isinstance(error, Failure) and type(error).__name__ not in ("ConfigError", "LaunchError"):
            raise
        print(f"\nerror: {error}", file=sys.stderr)
        return _CONFIG if type(error).__name__ == "ConfigError" else 1


def _interrupt(*_: object) -> None:
    """React to the first signal only, so that a second one does not interrupt the cleanup."""
    for number in _INTERRUPTS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _supervisorctl(*arguments: str) -> list[str]:
    return [".venv/bin/python", "-m", "supervisor.supervisorctl", "-c", ".run/supervisord.conf", *arguments]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
