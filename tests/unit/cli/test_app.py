"""The command line: help, wrong arguments, wrong settings, output."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from cli.app import main
from cli.output import print_rows

Run = Callable[..., tuple[int, str, str]]
UNREACHABLE = {"RABBITMQ_PASSWORD": "secret", "RABBITMQ_PORT": "1"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The exit status of the command, its output and its errors."""

    def command(*words: str) -> tuple[int, str, str]:
        status = main(words, UNREACHABLE)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return command


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_the_commands(run: Run, option: str):
    assert run(option)[:2] == (0, run("--help")[1])
    assert "dead" in run(option)[1]
    status, out, _ = run("dead", option)
    assert (status, [word for word in ("list", "show", "replay") if word not in out]) == (0, [])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["list", "--limit", "many"], "'--limit'"),
        (["list", "--limit", "-1"], "'--limit'"),
        (["show"], "'id'"),
        (["replay"], "ID or --all"),
        (["replay", "one", "--all"], "ID or --all"),
        (["bury"], "'bury'"),
    ],
)
def test_wrong_arguments_are_named_and_exit_with_2(run: Run, words: list[str], problem: str):
    status, out, err = run("dead", *words)
    assert (status, out) == (2, "")
    assert problem in err.splitlines()[-1]


def test_a_wrong_setting_exits_with_78_and_names_it(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["dead", "list"], {"RABBITMQ_PASSWORD": "x", "RABBITMQ_PORT": "many"})
    assert ended.value.code == 78
    assert "RABBITMQ_PORT='many'" in capsys.readouterr().err


def test_an_unavailable_broker_exits_with_1_and_prints_no_secret(run: Run):
    status, out, err = run("dead", "list")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("ws-gateway: RabbitMQ unavailable at 127.0.0.1:1, check RABBITMQ_HOST and RABBITMQ_PORT: ")
    assert "secret" not in err


def test_a_pipe_gets_plain_lines_of_limited_length(capsys: pytest.CaptureFixture[str]):
    print_rows(("id", "reason"), [("1", "[red]not valid[/red]"), ("2", "x" * 500)])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "1  [red]not valid[/red]"
    assert second == ("2  " + "x" * 500)[:200] + "…"


def test_a_terminal_gets_columns_with_headings_and_complete_ids():
    terminal = Console(file=io.StringIO(), force_terminal=True, width=40, color_system=None)
    print_rows(("id", "reason"), [("z" * 60, "[red]not fit[/red]")], terminal)
    assert isinstance(terminal.file, io.StringIO)
    printed = terminal.file.getvalue()
    assert printed.split()[:2] == ["id", "reason"]
    assert "[red]" in printed
    assert printed.count("z") == 60
