"""Fingerprints of a stage's source code: what must change before its results are out of date.

A stage is named by the modules it starts from and by the function of the command line that calls them. Its fingerprint
is a SHA-256 over that function, over the syntax trees of those modules and of every `facerecon` module that they
import, directly or not, at the top or inside a function, and over the data files that these modules' packages carry in
`assets/`. Comments, docstrings, descriptions of settings and options, formatting, `pass` and the package's version
number do not count; nor do carried weights, since which of them a stage reads depends on the settings; nor do the
versions of other packages. The trees are serialised here rather than by `ast.dump`, whose text differs between Python
versions: a head node and a compute node may run different ones.

Nothing is imported and nothing is written: modules are only read and parsed, each once a process.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from facerecon.artefacts import sha256_file

PACKAGE = "facerecon"

STAGE_MODULES: dict[str, tuple[str, ...]] = {
    "synthesis.photographs": ("synthesis.photographs",),
    "synthesis.now_benchmark": ("synthesis.now_benchmark",),
    "data.manifest": ("data.manifest",),
    "preprocess.landmarks": ("preprocess.landmarks",),
    "preprocess.parsing": ("preprocess.parsing",),
    "preprocess.fit": ("preprocess.fit",),
    "preprocess.shard": ("preprocess.shard",),
    "training.amplitude_phase": ("training.run", "systems.amplitude_phase.training"),
    "training.detector": ("training.run", "training.tasks.detector"),
    "training.landmarks": ("training.run", "training.tasks.landmarks"),
    "training.parsing": ("training.run", "training.tasks.parsing"),
    "training.recognition": ("training.run", "training.tasks.recognition"),
    "predict.mean_face": ("systems.predict",),
    "predict.oracle": ("systems.predict",),
    "predict.amplitude_phase": ("systems.predict", "systems.amplitude_phase.model"),
    "evaluate.now": ("evaluate.geometric.now",),
    "evaluate.networks": ("training.evaluation.run", "report.network_sheet"),
    "evaluate.aflw2000": ("preprocess.measure", "report.network_sheet"),
    "evaluate.detection": ("preprocess.measure", "report.network_sheet"),
    "report.now": ("report.tables",),
    "report.training_curve": ("report.figures",),
}
"""Stage -> the modules it starts from, without the package's name."""

STAGE_COMMANDS: dict[str, tuple[str, str]] = {
    "synthesis.photographs": ("cli.data", "synthesize"),
    "synthesis.now_benchmark": ("cli.data", "benchmark"),
    "data.manifest": ("cli.data", "manifest"),
    "preprocess.landmarks": ("cli.preprocess", "landmarks"),
    "preprocess.parsing": ("cli.preprocess", "parsing"),
    "preprocess.fit": ("cli.preprocess", "fit"),
    "preprocess.shard": ("cli.preprocess", "shard"),
    "training.amplitude_phase": ("cli.training", "train"),
    "training.detector": ("cli.training", "train"),
    "training.landmarks": ("cli.training", "train"),
    "training.parsing": ("cli.training", "train"),
    "training.recognition": ("cli.training", "train"),
    "predict.mean_face": ("cli.training", "predict_now"),
    "predict.oracle": ("cli.training", "predict_now"),
    "predict.amplitude_phase": ("cli.training", "predict_now"),
    "evaluate.now": ("cli.evaluate", "now"),
    "evaluate.networks": ("cli.evaluate", "networks"),
    "evaluate.aflw2000": ("cli.evaluate", "aflw2000"),
    "evaluate.detection": ("cli.evaluate", "detection"),
    "report.now": ("cli.report", "now"),
    "report.training_curve": ("cli.report", "training_curve"),
}
"""Stage -> module and function of its command: what it passes on counts, the other commands of the module do not."""

DISPATCHERS = frozenset({"facerecon.training.run", "facerecon.systems.registry", "facerecon.systems.predict"})
"""Modules that choose one stage of several by name and import it inside a function.

Only their top-level imports are followed: `STAGE_MODULES` names the module that each stage makes them choose, so that a
change of one system's losses does not rerun the training of the others.
"""

WEIGHTS_PACKAGE = "facerecon.networks"
"""The package whose `assets/` are weights."""

_DESCRIBED = frozenset({"Field", "Option", "Argument", "Typer", "add_argument"})
_DESCRIPTIONS = frozenset({"description", "help", "metavar"})
# Functions and classes that describe settings and options, and their arguments that are words for people.

_STATEMENT_LISTS = ("body", "orelse", "finalbody", "handlers", "cases")
_IGNORED_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


def stage_fingerprint(stage: str) -> str:
    """Hexadecimal fingerprint (20 characters) of the code behind `stage`, a key of `STAGE_MODULES`.

    Raises ValueError for an unknown stage and FileNotFoundError if one of its modules does not exist.
    """
    if stage not in STAGE_MODULES:
        raise ValueError(f"unknown stage {stage!r}; known: {', '.join(STAGE_MODULES)}")
    return _stage_fingerprint(stage, Path(__file__).parent)


def stage_closure(stage: str, package_root: Path | None = None) -> dict[str, Path]:
    """Module name -> file of everything whose code counts for `stage`."""
    root = package_root or Path(__file__).parent
    return import_closure((f"{PACKAGE}.{name}" for name in STAGE_MODULES[stage]), root)


@cache
def _stage_fingerprint(stage: str, package_root: Path) -> str:
    digest = hashlib.sha256()
    module, function = STAGE_COMMANDS[stage]
    digest.update(f"{command_source(_module_file(f'{PACKAGE}.{module}', package_root), function)}\n".encode())
    closure = stage_closure(stage, package_root)
    for name, path in sorted(closure.items()):
        digest.update(f"{name} {module_digest(path)}\n".encode())
    for path in carried_data(closure):
        digest.update(f"{path.relative_to(package_root).as_posix()} {file_digest(path)}\n".encode())
    return digest.hexdigest()[:20]


def carried_data(closure: dict[str, Path]) -> list[Path]:
    """The data files in `assets/` of the packages in an import closure, without carried weights."""
    packages = [path.parent for name, path in closure.items() if path.name == "__init__.py" and name != WEIGHTS_PACKAGE]
    return sorted(path for package in packages for path in package.glob("assets/*") if path.is_file())


def import_closure(entries: Iterable[str], package_root: Path) -> dict[str, Path]:
    """Every module of the package that importing and running `entries` can import, with its file.

    entries: full module names. package_root: the package's folder. Packages on the way to a module count, since
    importing the module runs their `__init__`. Raises FileNotFoundError if an entry does not exist.
    """
    found: dict[str, Path] = {}
    waiting = list(entries)
    for entry in waiting:
        if _module_file(entry, package_root) is None:
            raise FileNotFoundError(f"no module {entry} under {package_root}")
    while waiting:
        name = waiting.pop()
        path = None if name in found else _module_file(name, package_root)
        if path is None:
            continue
        found[name] = path
        waiting.extend(imported_modules(path, name, lazy=name not in DISPATCHERS))
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return found


@cache
def imported_modules(path: Path, name: str, lazy: bool = True) -> frozenset[str]:
    """Names that the module `name` in file `path` may import from this package (some may be attributes of a module).

    lazy: also those imported inside functions.
    """
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in _walk(_tree(path), lazy):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join(parents + ([node.module] if node.module else []))
            found.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return frozenset(target for target in found if target == PACKAGE or target.startswith(f"{PACKAGE}."))


file_digest = cache(sha256_file)
"""SHA-256 of a file, computed once a process."""


@cache
def module_digest(path: Path) -> str:
    """SHA-256 of a module's code, the same for every layout and comment of it and on every supported Python."""
    return hashlib.sha256(canonical_source(_tree(path)).encode("utf-8", "surrogatepass")).hexdigest()


def canonical_source(tree: ast.Module) -> str:
    """A text for a syntax tree that two sources share exactly if they differ in nothing that counts."""
    parts: list[str] = []
    _serialise(tree, parts.append)
    return "".join(parts)


@cache
def command_source(path: Path, function: str) -> str:
    """`canonical_source` of one function in a module's file, without its decorators.

    Raises ValueError if the module has no such function.
    """
    for node in _tree(path).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            bare = ast.FunctionDef(**{field: getattr(node, field, None) for field in node._fields})
            bare.decorator_list = []
            return canonical_source(ast.Module([bare], []))
    raise ValueError(f"{path} has no function {function}")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


def _module_file(name: str, package_root: Path) -> Path | None:
    base = package_root.joinpath(*name.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _walk(tree: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    """Every statement below `tree`; without `lazy`, those that run on import."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            children = (getattr(node, field, ()) for field in _STATEMENT_LISTS)
            waiting.extend(child for statements in children for child in statements)


def _serialise(value: object, write) -> None:
    if isinstance(value, ast.Constant):
        write(f"{type(value.value).__name__}:{_constant_text(value.value)}")
    elif isinstance(value, ast.AST):
        write(f"({type(value).__name__}")
        for field in value._fields:
            child = getattr(value, field, None)
            if field in _IGNORED_FIELDS or child is None:
                continue
            if isinstance(child, list):
                child = _counting(child, joined=isinstance(value, ast.JoinedStr))
                if field == "keywords" and _describes(value):
                    child = [keyword for keyword in child if keyword.arg not in _DESCRIPTIONS]
                if not child:
                    continue
            elif field == "format_spec" and not _counting(child.values, joined=True):
                continue
            write(f" {field}=")
            _serialise(child, write)
        write(")")
    elif isinstance(value, list):
        write("[")
        for item in value:
            _serialise(item, write)
            write(",")
        write("]")
    else:
        write(f"{type(value).__name__}:{value!r}")


def _describes(call: ast.AST) -> bool:
    """Whether a node is a call that describes a setting or an option."""
    callee = getattr(call, "func", None)
    return getattr(callee, "attr", getattr(callee, "id", None)) in _DESCRIBED


def _counting(items: list, joined: bool) -> list:
    """Statements that do something, and the parts of an f-string with neighbouring texts joined and empty ones gone."""
    if not joined:
        return [item for item in items if not _is_idle(item)]
    parts: list[ast.AST] = []
    for item in items:
        if isinstance(item, ast.Constant) and parts and isinstance(parts[-1], ast.Constant):
            parts[-1] = ast.Constant(parts[-1].value + item.value)
        elif not (isinstance(item, ast.Constant) and item.value == ""):
            parts.append(item)
    return parts


def _is_idle(node: object) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__version__"
    return isinstance(node, ast.Pass)


def _constant_text(value: object) -> str:
    """`repr`, except for strings: which characters it escapes follows the Unicode version of the Python at work."""
    return f"{len(value)}:{value}" if isinstance(value, str) else repr(value)
