"""numba's compiler, with a place to keep what it has compiled: take `njit` from here, not from numba.

numba keeps compiled kernels beside the source or in the user's cache folder, and refuses to run where neither can be
written to: a read-only installation used without a home, as in containers and on compute nodes. There, unless
NUMBA_CACHE_DIR says otherwise, they are kept in the folder for temporary files.
"""

import atexit
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

_VARIABLE = "NUMBA_CACHE_DIR"


def writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, or it can be made."""
    existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    return os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)


def private_folder() -> Path:
    """A folder for this user's compiled code below the folder for temporary files.

    Loading compiled code runs it, so nobody else may be able to write there. If another user took the name, the folder
    has a random one and goes with this process.
    """
    folder = Path(tempfile.gettempdir()) / f"facerecon-numba-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    except OSError:
        private = False
    if not private:
        folder = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _choose_cache() -> None:
    beside_source = Path(__file__).parent / "geometry" / "__pycache__"
    of_user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"
    if os.environ.get(_VARIABLE) or writable(beside_source) or writable(of_user):
        return
    os.environ[_VARIABLE] = str(private_folder())
    if "numba" in sys.modules:  # which has read the variable already
        sys.modules["numba"].config.CACHE_DIR = os.environ[_VARIABLE]


_choose_cache()

from numba import njit  # noqa: E402 numba reads the variable when it is imported

__all__ = ["njit"]
