"""No log line passes a field under a name that our log format writes itself."""

import ast
from collections.abc import Iterator, Set
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("ingestor", "persister", "api", "common", "simulator")
METHODS = {"debug", "info", "warning", "error", "critical", "exception", "log", "bind"}
RESERVED = {"level", "event", "logger", "timestamp", "process"}


def misused(source: str) -> list[str]:
    """The reserved names that log calls pass, as `line: name`."""
    tree = ast.parse(source)
    aliases = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _logs(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [f"{call.lineno}: {name}" for call in calls if _logs(call.func, aliases) for name in _reserved(call)]


def _logs(expression: ast.expr, aliases: Set[str] = frozenset()) -> bool:
    return any(_is_log_method(node) or _is_alias(node, aliases) for node in ast.walk(expression))


def _is_alias(node: ast.AST, aliases: Set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in aliases


def _is_log_method(node: ast.AST) -> bool:
    if not isinstance(node, ast.Attribute):
        return False
    owner = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
    return (owner in ("log", "_log") and node.attr in METHODS) or (owner, node.attr) == ("logs", "straight")


def _reserved(call: ast.Call) -> Iterator[str]:
    return (keyword.arg for keyword in call.keywords if keyword.arg in RESERVED)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_log_line_overwrites_what_the_format_writes(package: str):
    for path in (ROOT / package).rglob("*.py"):
        assert misused(path.read_text()) == [], path


@pytest.mark.parametrize(
    "source",
    [
        'log.warning("x", level="critical")',
        'self._log.info("x", event="y")',
        'write = log.info if fine else log.warning\nwrite("x", level="critical")',
        '(log.info if fine else log.warning)("x", timestamp=1)',
        'write = logs.straight("api")\nwrite("x", process=1)',
    ],
)
def test_every_way_of_calling_a_logger_is_seen(source: str):
    assert len(misused(source)) == 1
