"""The lock files name everything that an installation without a look at dependencies needs."""

import importlib.metadata
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = ("3.11", "3.12", "3.13", "3.14")

Metadata = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Locked:
    version: str
    extras: frozenset[str]
    marker: Marker | None


def parsed(text: str) -> dict[str, Locked]:
    """The packages that a lock file names."""
    found: dict[str, Locked] = {}
    for line in text.splitlines():
        if line and not line.startswith((" ", "#")):
            requirement = Requirement(line.removesuffix("\\").strip())
            [version] = [each.version for each in requirement.specifier]
            extras = frozenset(map(canonicalize_name, requirement.extras))
            found[canonicalize_name(requirement.name)] = Locked(version, extras, requirement.marker)
    return found


def lacking(lock: dict[str, Locked], required: Iterable[str], metadata: Metadata, python: str) -> list[str]:
    """What is required, by the project or by a locked package, and not locked as it is required."""
    faults: dict[str, None] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(text, "pyproject.toml", "") for text in required]
    while waiting:
        text, by, extra = waiting.pop()
        if (text, extra) in seen:
            continue
        seen.add((text, extra))
        requirement = Requirement(text)
        if not _applies(requirement.marker, python, extra):
            continue
        name = canonicalize_name(requirement.name)
        found = lock.get(name)
        if found is None or not _applies(found.marker, python, ""):
            faults[f"{name}, required by {by}"] = None
            continue
        if not requirement.specifier.contains(found.version, prereleases=True):
            faults[f"{name}{requirement.specifier}, required by {by}, is locked as {found.version}"] = None
        extras = set(map(canonicalize_name, requirement.extras))
        faults |= {f"{name}[{each}], required by {by}": None for each in sorted(extras - found.extras)}
        for wanted in ("", *extras):
            waiting += [(each, name, wanted) for each in metadata(name)]
    return list(faults)


def _applies(marker: Marker | None, python: str, extra: str) -> bool:
    surroundings = {str(key): str(value) for key, value in default_environment().items()}
    named = {"python_version": python, "python_full_version": f"{python}.0", "extra": extra}
    return marker is None or marker.evaluate(surroundings | named)


def required(*extras: str) -> list[str]:
    groups = PROJECT["project"]["optional-dependencies"]
    lines = [line for extra in extras for line in groups[extra]]
    return [*PROJECT["project"]["dependencies"]] + [line for line in lines if not line.startswith("ws-gateway[")]


LOCKS = {
    "requirements.lock": required(),
    "requirements-simulator.lock": required("simulator"),
    "requirements-dev.lock": required("simulator", "dev"),
    "requirements-build.lock": PROJECT["build-system"]["requires"],
}


def installed(name: str) -> Iterable[str]:
    return importlib.metadata.requires(name) or ()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", [name for name in LOCKS if name != "requirements-build.lock"])
def test_a_lock_names_all_that_is_required_with_its_extras(name: str, python: str):
    assert lacking(parsed((ROOT / name).read_text()), LOCKS[name], installed, python) == []


def test_what_builds_the_project_is_locked():
    lock = parsed((ROOT / "requirements-build.lock").read_text())
    assert lacking(lock, LOCKS["requirements-build.lock"], lambda _: (), "3.11") == []


def test_the_packages_that_this_reads_about_are_those_that_are_locked():
    for name, locked in parsed((ROOT / "requirements-dev.lock").read_text()).items():
        if _applies(locked.marker, PYTHONS[0], ""):
            assert importlib.metadata.version(name) == locked.version, f"{name}: make test installs what is locked"


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_locked_by_its_digests(name: str):
    first_lines = re.findall(r"^[a-z].*\n(.*)", (ROOT / name).read_text(), re.MULTILINE)
    assert first_lines
    assert [line for line in first_lines if not re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}( \\)?", line)] == []


METADATA = {"a": ["b[x]>=2", 'c; extra == "more"'], "b": ["d; python_version < '3.13'"], "c": [], "d": []}
WHOLE = "a[more]==1\nb[x]==2\nc==1\nd==1 ; python_full_version < '3.13'\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (WHOLE, None),
        (WHOLE.replace("b[x]", "b"), "b[x], required by a"),
        (WHOLE.replace("a[more]", "a"), "a[more], required by pyproject.toml"),
        (WHOLE.replace("c==1", ""), "c, required by a"),
        (WHOLE.replace("b[x]==2", "b[x]==1"), "b>=2, required by a, is locked as 1"),
        (WHOLE.replace("3.13", "3.12"), "d, required by b"),
    ],
)
def test_what_a_lock_lacks_is_named(text: str, fault: str | None):
    found = lacking(parsed(text), ["a[more]"], lambda name: METADATA[name], "3.12")
    assert found == ([] if fault is None else [fault])
