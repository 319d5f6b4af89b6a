"""docs/architecture.md lists the threads and draws the states of a connection as they are in the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from ingestor.bybit.states import TRANSITIONS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SECTIONS = {"Threads of the ingestor": "ingestor", "Threads of the persister": "persister", "Threads of the api": "api"}
SHARED = "common/metrics.py"  # a thread of ingestor and persister


def text_of(section: str) -> str:
    return PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]


def documented(section: str) -> set[str]:
    first_cells = re.findall(r"^\| (`[^|]*)\|", text_of(section), re.M)
    return {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}


def in_the_code(package: str) -> set[str]:
    """The names of all threads as regular expressions: what is only known at run time matches anything."""
    paths = [*(ROOT / package).rglob("*.py"), *([] if package == "api" else [ROOT / SHARED])]
    return {name for path in paths for name in _names(ast.parse(path.read_text()))}


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and _is_worker(node):
            yield from (_pattern(each.value) for each in ast.walk(node) if _names_itself(each))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "threading.Thread":
            literal = [each.value for each in node.keywords if each.arg == "name"]
            yield from (_pattern(each) for each in literal if isinstance(each, ast.Constant))


def _is_worker(node: ast.ClassDef) -> bool:
    runs = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "run"]
    takes_stop = any([argument.arg for argument in each.args.args] == ["self", "stop"] for each in runs)
    return takes_stop or any(ast.unparse(base).startswith("Job[") for base in node.bases)


def _names_itself(node: ast.AST) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("name", "self.name")


def _pattern(name: ast.expr) -> str:
    if isinstance(name, ast.Constant):
        return re.escape(str(name.value))
    assert isinstance(name, ast.JoinedStr), ast.unparse(name)
    return "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".+" for p in name.values)


def test_every_thread_is_listed_and_every_listed_thread_exists():
    for section, package in SECTIONS.items():
        listed, patterns = documented(section), in_the_code(package)
        unlisted = {pattern for pattern in patterns if not any(re.fullmatch(pattern, name) for name in listed)}
        unknown = {name for name in listed if not any(re.fullmatch(pattern, name) for pattern in patterns)}
        assert (unlisted, unknown) == (set(), set()), section


def test_the_names_are_found_in_the_code():
    assert {"reconciler", "stream\\ .+/.+", "rotation", "publisher\\ .+", "metrics"} <= in_the_code("ingestor")
    assert "notifier" in in_the_code("api")


def test_every_transition_of_a_connection_is_drawn():
    drawn = set(re.findall(r"^ +(\w+) --> (\w+):", text_of("State of a connection"), re.M))
    assert drawn == {(str(state), str(following)) for (state, _), following in TRANSITIONS.items()}
