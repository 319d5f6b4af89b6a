"""The command `ws-gateway`: each of its commands is a module that is added here."""

import sys
from collections.abc import Mapping, Sequence

import typer

from cli import dead
from common import entrypoint, settings
from common.errors import Unavailable

_FAILED = 1

app = typer.Typer(
    help="Operate a running ws-gateway. Settings come from the environment and from .env in the working directory.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,  # no frames in a pipe
    pretty_exceptions_enable=False,  # they show values, and values may be secrets
)
app.add_typer(dead.app, name="dead")


@app.callback()
def ws_gateway() -> None:
    """Exists so that a command has a name of its own even while it is the only one."""


def main(argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 when it failed, 2 for wrong arguments.

    Settings are read from `env`, by default the environment of this process and .env. A wrong one exits with 78.
    """
    try:
        return entrypoint.run("ws-gateway", lambda: _run(argv, env))
    except Unavailable as error:
        typer.echo(f"ws-gateway: {error}", err=True)
        return _FAILED


def _run(argv: Sequence[str] | None, env: Mapping[str, str] | None) -> int:
    values = settings.process_environment() if env is None else env
    arguments = None if argv is None else list(argv)
    try:
        typer.main.get_command(app).main(arguments, prog_name="ws-gateway", obj=values)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else _FAILED
    return 0
