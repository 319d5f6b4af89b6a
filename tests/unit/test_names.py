"""One word per idea: class names have one owner, and the words of our former private language do not return."""

import ast
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN_VOCABULARY = ("simulator/", "tests/")  # the simulator imports nothing of ours; tests have doubles
ONE_PER_PROCESS = {"Settings"}
FORMER = re.compile(r"(?<![a-z])(told|wish|wishes|poke|berth|sight|sighting|standing)", re.IGNORECASE)
ALLOWED = {
    r"standing": r"persister/.*|common/tables/.*balance.*|docs/balances\.md|docs/decisions/0010-.*|api/.*balances.*"
    r"|tests/(unit|contract)/(persister|balances)/.*",
    r'"poke"': r"common/topology\.py",  # the value is part of the contract on RabbitMQ
    r'"told"': r"simulator/control\.py|tests/contract/simulator/.*",  # a key of its control API
    r'"wishes\.json"': r"ingestor/__main__\.py|tests/unit/.*/test_(cache|upgrade)\.py",  # a former name
    r"`[^`]*`": r"CHANGELOG\.md",  # quotes what was renamed
    r".*": r"tests/unit/test_names\.py",
}


def files(*patterns: str) -> list[str]:
    """Paths of tracked files, relative to the root."""
    found = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    return found.stdout.splitlines()


def owners() -> dict[str, list[str]]:
    """Class name to the modules that define it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in files("*.py"):
        if not path.startswith(OWN_VOCABULARY):
            tree = ast.parse((ROOT / path).read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(path)
    return found


def is_allowed(path: str, text: str) -> bool:
    rest = text
    for word, places in ALLOWED.items():
        if re.fullmatch(places, path):
            rest = re.sub(word, "", rest, flags=re.IGNORECASE)
    return FORMER.search(rest) is None


def test_a_class_name_has_one_owner():
    shared = {name: paths for name, paths in owners().items() if len(paths) > 1 and name not in ONE_PER_PROCESS}
    assert not shared, "\n".join(f"{name}: {paths}" for name, paths in shared.items())


def test_the_former_words_do_not_return():
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path in files("*.py", "*.md")
        for number, line in enumerate((ROOT / path).read_text().splitlines(), start=1)
        if not is_allowed(path, line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "text", "allowed"),
    [
        ("common/logs.py", "is told once", False),
        ("common/logs.py", "untold", True),
        ("common/logs.py", "def test_it_is_told_once():", False),
        ("persister/checks.py", "class Standing:", True),
        ("api/services/health.py", "standing", False),
        ("common/topology.py", 'NOTIFY = "poke"', True),
        ("common/topology.py", "poke", False),
    ],
)
def test_a_word_is_allowed_only_in_its_place(path: str, text: str, allowed: bool):
    assert is_allowed(path, text) == allowed
