"""Compiled kernels work where neither the installation nor the user's folders can be written to."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from facerecon import compilation

KERNEL = """\
from {source} import njit


@njit(cache=True)
def double(x):
    return 2 * x
"""

# Without its capabilities root obeys permissions as anybody does.
PROBE = """
import ctypes, os, sys
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
assert not os.access(os.path.dirname(sys.argv[1]), os.W_OK)
from facerecon.geometry import kernel
print(kernel.double(21), os.environ.get("NUMBA_CACHE_DIR"))
"""


def run_read_only(root: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Run a kernel whose `njit` comes from `source`, in a copy of the package that cannot be written to."""
    package = root / source / "facerecon"
    (package / "geometry").mkdir(parents=True)
    for name in ("__init__.py", "compilation.py"):
        shutil.copy(Path(compilation.__file__).parent / name, package / name)
    (package / "geometry" / "__init__.py").touch()
    (package / "geometry" / "kernel.py").write_text(KERNEL.format(source=source))
    (root / "temporary").mkdir(exist_ok=True)
    places = [package / "geometry", package, package.parent]
    for place in places:
        place.chmod(0o555)
    environment = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "PYTHONPATH")}
    environment |= {
        "HOME": str(package.parent),
        "XDG_CACHE_HOME": str(package.parent),
        "PYTHONPATH": str(package.parent),
        "TMPDIR": str(root / "temporary"),
    }
    try:
        return subprocess.run(
            [sys.executable, "-c", PROBE, str(package / "__init__.py")], env=environment, capture_output=True, text=True
        )
    finally:
        for place in reversed(places):
            place.chmod(0o755)


def test_kernels_run_from_a_read_only_installation_without_a_home(tmp_path: Path) -> None:
    refused = run_read_only(tmp_path, "numba")
    assert "no locator available" in refused.stderr
    answer = run_read_only(tmp_path, "facerecon.compilation")
    assert answer.returncode == 0, answer.stderr
    folder = tmp_path / "temporary" / f"facerecon-numba-{os.getuid()}"
    assert answer.stdout.split() == ["42", str(folder)]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.rglob("*.nbc"))


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    taken = tmp_path / f"facerecon-numba-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    for _ in range(2):
        chosen = compilation.private_folder()
        assert chosen not in (taken, elsewhere) and stat.S_IMODE(chosen.stat().st_mode) == 0o700
        taken.rmdir() if not taken.is_symlink() else taken.unlink()
        taken.symlink_to(elsewhere)  # the second time: a link, even to a private folder, may be turned elsewhere


def test_writable_looks_at_what_is_there(tmp_path: Path) -> None:
    assert compilation.writable(tmp_path / "new" / "deep")
    (tmp_path / "file").touch()
    assert not compilation.writable(tmp_path / "file" / "deep")


def test_no_module_takes_the_compiler_from_elsewhere() -> None:
    package = Path(compilation.__file__).parent
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert sum("\nfrom facerecon.compilation import njit" in text for text in sources.values()) >= 5
    assert [path.name for path, text in sources.items() if "\nfrom numba" in text or "\nimport numba" in text] == [
        "compilation.py"
    ]
