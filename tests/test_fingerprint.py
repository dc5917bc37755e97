import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facerecon import fingerprint
from facerecon.fingerprint import (
    STAGE_COMMANDS,
    STAGE_MODULES,
    canonical_source,
    carried_data,
    command_source,
    import_closure,
    imported_modules,
    stage_closure,
    stage_fingerprint,
)

SOURCE = '''\
"""Module."""
import os

SIZES = {"a": 1, **{"b": 2.5e-3}}


class Thing(Base, flag=True):
    """A thing."""

    name: str = "ünïcode \\U0001FAE8"

    def say(self, who, /, *rest, loud: bool = False, **more):
        """Say."""
        text = f"{who!r:>{len(rest)}} said {loud=}" "{" f"{1.0:}}}"
        return b"\\x00", text, 1j, ..., not loud, [x async for x in who if x] if rest else lambda: (yield)
'''

SAME = '''\
# a comment
import os  # another
SIZES = {
    "a": 1,
    **{"b": 0.0025},
}
class Thing(Base, flag=True):
    """Another docstring."""
    pass
    name: str = "ünïcode 🫨"
    def say(self, who, /, *rest, loud: bool = False, **more):
        text = (
            f"{who!r:>{len(rest)}} "
            f"said {loud=}"
            f"{{{1.0}}}"
        )
        return (b"\\0", text, 1j, ..., not loud, [x async for x in who if x] if rest else lambda: (yield))
'''


STORED_DIGEST = "9ca2152c5f973da35856d0a126fcdd4f373edb5855bbcba0c9d3311563c2d0d0"


def canonical(source: str) -> str:
    return canonical_source(ast.parse(source))


def test_layout_comments_and_docstrings_do_not_count() -> None:
    assert canonical(SOURCE) == canonical(SAME)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2.5e-3", "2.6e-3"),
        ('"a": 1', '"a": 1.0'),
        ('"a": 1', '"a": True'),
        ("**{", "'c': {"),
        ("flag=True", "flag=None"),
        ("/, ", ""),
        ("!r", "!s"),
        ("{loud=}", "{loud}"),
        ("not loud", "loud"),
        ("bool = False", "bool"),
        ("async for", "for"),
        ("import os", "import os as o"),
    ],
)
def test_changes_of_code_count(old: str, new: str) -> None:
    assert old in SOURCE
    assert canonical(SOURCE) != canonical(SOURCE.replace(old, new))


def test_words_for_people_do_not_count() -> None:
    setting = 'steps: int = Field(3, ge=1, description="steps")'
    assert canonical(setting) == canonical(setting.replace('"steps"', '"optimiser " "steps"'))
    assert canonical(setting) != canonical(setting.replace("ge=1", "ge=0"))
    option = 'def train(out: Annotated[Path, typer.Option("--out", help="Folder.", metavar="DIR")] = A): run(out)'
    assert canonical(option) == canonical(option.replace("Folder.", "A folder.").replace('"DIR"', '"OUT"'))
    assert canonical(option) != canonical(option.replace('"--out"', '"--to"'))
    assert canonical('f(description="a")') != canonical('f(description="b")')


COMMANDS = '''\
@command(app, "first", "facerecon first --out x")
def first(out: Path = X) -> None:
    """Do the first."""
    run(out, 1)


def second() -> None:
    run(2)
'''


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("run(out, 1)", "run(out, 3)", True),
        ("= X", "= Y", True),
        ("run(2)", "run(3)", False),
        ("--out x", "--out y", False),
        ("Do the", "Does the", False),
    ],
)
def test_of_a_command_only_what_it_passes_on_counts(tmp_path: Path, old: str, new: str, counts: bool) -> None:
    before, after = tmp_path / "before.py", tmp_path / "after.py"
    assert old in COMMANDS
    before.write_text(COMMANDS)
    after.write_text(COMMANDS.replace(old, new))
    assert (command_source(before, "first") != command_source(after, "first")) == counts
    with pytest.raises(ValueError, match="no function third"):
        command_source(before, "third")


def test_every_stage_has_a_command_that_calls_its_module() -> None:
    assert set(STAGE_COMMANDS) == set(STAGE_MODULES)
    for stage, (module, function) in STAGE_COMMANDS.items():
        path = Path(fingerprint.__file__).parent.joinpath(*module.split(".")).with_suffix(".py")
        source = ast.unparse(
            next(node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == function)
        )
        assert f"from facerecon.{STAGE_MODULES[stage][0]} import" in source


def test_version_number_does_not_count() -> None:
    assert canonical('"""A."""\n__version__ = "1"\n') == canonical('__version__ = "2"')
    assert canonical('version = "1"') != canonical('version = "2"')


def test_the_same_text_on_every_python(tmp_path: Path) -> None:
    """The serialisation itself, stored: other versions must give it too (those that are installed are run)."""
    source = tmp_path / "source.py"
    source.write_text(SOURCE, encoding="utf-8")
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\nfrom facerecon.fingerprint import module_digest\n"
        "print(module_digest(Path(sys.argv[1])))"
    )
    package = str(Path(fingerprint.__file__).parents[1])
    digests = {}
    for name in {sys.executable, *filter(None, map(shutil.which, ("python3.11", "python3.12", "python3.13")))}:
        answer = subprocess.run([name, "-c", code, str(source), package], capture_output=True, text=True)
        if answer.returncode == 0:
            digests[name] = answer.stdout.strip()
    assert digests[sys.executable] == STORED_DIGEST
    assert set(digests.values()) == {STORED_DIGEST}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package named facerecon with a chain of imports of every kind."""
    root = tmp_path / "facerecon"
    files = {
        "__init__.py": "",
        "a/__init__.py": "from . import x",
        "a/x.py": "def f():\n    if True:\n        from facerecon.b import y, CONSTANT\n",
        "a/unused.py": "",
        "b/__init__.py": "CONSTANT = 1",
        "b/y.py": "import numpy\ntry:\n    import facerecon.c\nexcept ImportError:\n    from ..d import z as w\n",
        "c.py": "from facerecon import e\n",
        "d/__init__.py": "",
        "d/z.py": "from ..a.x import f\n",
        "e.py": "",
        "f.py": "",
        "b/assets/table.csv": "1",
        "networks/__init__.py": "",
        "networks/assets/w.safetensors": "1",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_closure_follows_every_kind_of_import(package: Path) -> None:
    found = import_closure(["facerecon.a"], package)
    names = {"", ".a", ".a.x", ".b", ".b.y", ".c", ".d", ".d.z", ".e"}
    assert set(found) == {f"facerecon{name}" for name in names}
    assert found["facerecon.d.z"] == package / "d/z.py"


def test_dispatchers_are_followed_at_the_top_only(package: Path) -> None:
    assert "facerecon.b" in imported_modules(package / "a/x.py", "facerecon.a.x")
    assert imported_modules(package / "a/x.py", "facerecon.a.x", lazy=False) == frozenset()


def test_carried_data_counts_but_weights_do_not(package: Path) -> None:
    closure = import_closure(["facerecon.a", "facerecon.networks"], package)
    assert carried_data(closure) == [package / "b/assets/table.csv"]


def test_missing_modules_and_stages_are_refused(package: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"facerecon\.nothing"):
        import_closure(["facerecon.nothing"], package)
    with pytest.raises(ValueError, match="unknown stage"):
        stage_fingerprint("training.nothing")


def test_stages_have_their_own_code() -> None:
    assert "facerecon.losses.frequency" in stage_closure("training.amplitude_phase")
    for stage in STAGE_MODULES:
        assert len(stage_fingerprint(stage)) == 20
        closure = stage_closure(stage)
        assert not any(name.startswith(("facerecon.cli", "facerecon.settings")) for name in closure)
        if not stage.startswith(("training.amplitude_phase", "predict.amplitude_phase")):
            assert "facerecon.losses.frequency" not in closure, stage
        # Accuracy of the networks is measured on synthetic scenes, composed as training composes them.
        if stage.startswith(("preprocess", "evaluate")) and stage != "evaluate.networks":
            assert not any(name.startswith(("facerecon.training", "facerecon.synthesis")) for name in closure), stage


_TRACE = """
import importlib, json, sys
from facerecon.fingerprint import STAGE_MODULES
stages, found = STAGE_MODULES, {}
for stage, modules in stages.items():
    for name in [name for name in sys.modules if name.split(".")[0] == "facerecon"]:
        del sys.modules[name]
    for module in modules:
        importlib.import_module(f"facerecon.{module}")
    found[stage] = [name for name in sys.modules if name.split(".")[0] == "facerecon"]
print(json.dumps(found))
"""


def test_what_a_stage_imports_lies_in_its_closure() -> None:
    answer = subprocess.run([sys.executable, "-c", _TRACE], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert set(found) == set(STAGE_MODULES)
    for stage, modules in found.items():
        assert {f"facerecon.{module}" for module in STAGE_MODULES[stage]} <= set(modules)
        assert set(modules) <= set(stage_closure(stage)), stage
