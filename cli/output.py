"""What a command prints: columns for people on a terminal, plain lines in a pipe."""

from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_LONGEST_LINE = 200


def print_rows(headings: Sequence[str], rows: Iterable[Sequence[str]], console: Console | None = None) -> None:
    """One row per line; a pipe gets neither headings nor colours, and lines of at most 200 characters."""
    console = console or Console()
    if console.is_terminal:
        console.print(_table(headings, rows))
        return
    for row in rows:
        line = "  ".join(row)
        typer.echo(line if len(line) <= _LONGEST_LINE else line[:_LONGEST_LINE] + "…", file=console.file)


def print_problem(text: str) -> None:
    """One line on stderr, so that the output itself can be piped."""
    typer.echo(text, err=True)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")  # an id must be complete to be copied
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # text from messages, not markup
    return table
