"""Every relative link, anchor and make target in the documents exists."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests" / "data").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^( *)```.*?^\1```", re.M | re.S)


def broken_links(page: Path) -> list[str]:
    targets = LINK.findall(FENCED.sub("", page.read_text()))
    return [target for target in targets if not target.startswith(("http://", "https://")) and not exists(page, target)]


def exists(page: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    linked = page.parent / name if name else page
    return linked.exists() and (not anchor or anchor in anchors(linked.read_text()))


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings; a repeated heading gets a number."""
    return set(_numbered(re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.M)))


def _numbered(titles: list[str]) -> Iterator[str]:
    earlier = Counter[str]()
    for title in titles:
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        yield f"{anchor}-{earlier[anchor]}" if earlier[anchor] else anchor
        earlier[anchor] += 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_and_anchor_exists(page: Path):
    assert broken_links(page) == []


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("a.md", True),
        ("b.md", False),
        ("#two-words", True),
        ("a.md#two-words-1", True),
        ("a.md#two-words-2", False),
        ("a.md#a-comment-in-code", False),
    ],
)
def test_a_link_is_found_by_file_and_heading(tmp_path: Path, target: str, found: bool):
    page = tmp_path / "a.md"
    page.write_text(f"# Two words\n\n[link]({target})\n\n```sh\n# A comment in code\n```\n\n## Two words\n")
    assert broken_links(page) == ([] if found else [target])


def test_every_make_target_that_is_named_exists():
    text = "".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z.-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`make ([a-z.-]+)", text)) <= targets
