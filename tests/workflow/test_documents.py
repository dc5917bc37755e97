"""What the README and the documentation name is there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_and_recipes_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for recipe in re.findall(r"recipes/\w+\.yaml", text):
        assert (REPOSITORY / recipe).exists() or recipe == "recipes/mine.yaml", f"{page.name} names {recipe}"


def test_the_index_lists_every_page() -> None:
    index = (REPOSITORY / "docs" / "index.md").read_text(encoding="utf-8")
    assert {page.name for page in PAGES} - {"README.md", "index.md"} == set(re.findall(r"\]\((\w+\.md)\)", index))
