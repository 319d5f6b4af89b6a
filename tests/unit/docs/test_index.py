"""The index of the documents."""

from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def test_every_page_is_in_the_index():
    index = (DOCS / "README.md").read_text()
    missing = [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index]
    assert missing == []
