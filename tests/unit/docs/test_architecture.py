"""docs/architecture.md names modules, classes and threads, and draws the states, as they are in the code."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

import pytest

from ingestor.bybit.states import TOPIC_TRANSITIONS, TRANSITIONS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SECTIONS = {"Threads of the ingestor": "ingestor", "Threads of the persister": "persister", "Threads of the api": "api"}
SHARED = "common/metrics.py"  # a thread of ingestor and persister
CODE = ("api", "common", "ingestor", "persister")
PAGES = {"architecture": PAGE, "CONTRIBUTING": (ROOT / "CONTRIBUTING.md").read_text()}
FOLDERS = (*CODE, "cli", "examples", "simulator", "tests")
OF_LIBRARIES = {"Column", "Decimal"}


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


@cache
def modules() -> list[str]:
    return [str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]


@cache
def members() -> dict[str, set[str]]:
    """Each class, with the names of its methods and attributes."""
    trees = [ast.parse(path.read_text()) for package in CODE for path in (ROOT / package).rglob("*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {node.name: {name for each in node.body for name in _defined(each)} for node in classes}


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef):
        return [statement.name]
    return [ast.unparse(statement.target)] if isinstance(statement, ast.AnnAssign) else []


def unknown_modules(page: str) -> list[str]:
    """A path on a page may begin within its package; one with a placeholder is not checked."""
    named, known = re.findall(r"`([\w/]+\.py)`", page), ["/" + path for path in modules()]
    return [path for path in named if not any(each.endswith("/" + path) for each in known)]


def unknown_members(page: str) -> list[str]:
    """Of `Class` and `Class.member`, those that are not in the code."""
    found, named = members(), re.findall(r"`([A-Z][a-z]\w*)(?:\.(\w+))?`", page)
    unknown = [(name, member) for name, member in named if name not in found or (member and member not in found[name])]
    return [".".join(filter(None, each)) for each in unknown if each[0] not in OF_LIBRARIES]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_module_and_class_that_is_named_exists(page: str):
    assert (unknown_modules(page), unknown_members(page)) == ([], [])


def test_a_name_that_does_not_exist_is_found():
    assert unknown_modules("`sockets/worker.py` `worker.py` `sockets/reader.py` `orker.py`") == [
        "sockets/reader.py",
        "orker.py",
    ]
    assert unknown_members("`Session.due_at` `TopicFeed.events` `Feed` `Session.fly` `Stream` `SIGHUP`") == [
        "Session.fly",
        "Stream",
    ]


@pytest.mark.parametrize(
    ("section", "transitions"),
    [("State of a connection", TRANSITIONS), ("State of a topic on a connection", TOPIC_TRANSITIONS)],
)
def test_every_transition_is_drawn(section: str, transitions: dict[tuple[str, str], str]):
    drawn = set(re.findall(r"^ +(\w+) --> (\w+):", text_of(section), re.M))
    changes = {(str(state), str(following)) for (state, _), following in transitions.items() if state != following}
    assert drawn == changes
