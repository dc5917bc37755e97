"""Rules of the source that no linter of ours checks."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
MODULES = sorted((REPOSITORY / "src" / "facerecon").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY / "src")))
def test_modules_keep_to_themselves_and_to_a_readable_size(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            private = [alias.name for alias in node.names if alias.name.startswith("_") and alias.name != "__version__"]
            assert not private, f"imports the private {private} of {node.module}"
    assert len(text.splitlines()) <= 420, "split it"
    assert not text or ast.get_docstring(tree), "needs a docstring"


def test_requirements_name_no_address() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml", "Makefile", ".ci/run"):
        assert not re.search(r"https?://", (REPOSITORY / name).read_text()), name


def test_development_requirements_contain_those_of_a_run() -> None:
    run, development = (
        {line for line in (REPOSITORY / name).read_text().splitlines() if not line.startswith("#")}
        for name in ("requirements.txt", "requirements-dev.txt")
    )
    assert run < development
    assert all("==" in line for line in development)
