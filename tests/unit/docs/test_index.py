"""The indexes of the documents and of the decisions."""

from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"
DECISIONS = DOCS / "decisions"


def missing(folder: Path) -> list[str]:
    index = (folder / "README.md").read_text()
    return [page.name for page in folder.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index]


def test_every_page_is_in_the_index():
    assert missing(DOCS) == []


def test_every_decision_is_in_the_index_and_begins_with_its_number():
    assert missing(DECISIONS) == []
    numbered = [page for page in DECISIONS.glob("0*.md") if not page.read_text().startswith(f"# {page.name[:4]}: ")]
    assert numbered == []
