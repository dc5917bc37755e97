"""Writing what publishers of face models wrote: Python 2 pickles, chumpy's objects, and a small face to fill them."""

import io
import pickle
import struct
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


def small_face(size: int = 11) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (size^2, 3), mm, of a lopsided half ellipsoid that looks along +z, and triangles (F, 3) from 0,
    counter-clockwise seen from outside."""
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size))
    z = np.sqrt(np.maximum(2.2 - x**2 - y**2, 0)) + 0.05 * np.sin(5 * x + y)
    vertices = np.stack([70 * x, 90 * y + 3 * x, 80 * z], -1).reshape(-1, 3)
    corner = (np.arange(size - 1)[:, None] * size + np.arange(size - 1)).ravel()
    lower = np.stack([corner, corner + 1, corner + size], 1)
    upper = np.stack([corner + 1, corner + size + 1, corner + size], 1)
    return vertices, np.concatenate([lower, upper])


def outward_volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Sum over triangles of the height above the vertices' mean along their normal: positive if they face outwards."""
    corners = vertices[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float((normals * (corners.mean(1) - vertices.mean(0))).sum())


def python2_pickle(value: Any, protocol: int = 2) -> bytes:
    """The pickle that Python 2 with numpy of its time would write: byte strings, and the modules' old names."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol).dump(value)
    return stream.getvalue()


class _Python2Pickler(pickle._Pickler):
    dispatch = pickle._Pickler.dispatch.copy()

    def save_text(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        if self.proto == 0:
            text = repr(data)[1:].encode("ascii")
            self.write(pickle.STRING + text + b"\n")
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = save_text
    dispatch[bytes] = save_text

    def save_global(self, value: Any, name: str | None = None) -> None:
        module, name = value.__module__, value.__qualname__
        module = module.replace("numpy._core", "numpy.core").replace("scipy.sparse._", "scipy.sparse.")
        module = {"copyreg": "copy_reg", "builtins": "__builtin__"}.get(module, module)
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode("ascii"))
        self.memoize(value)

    dispatch[type] = save_global
    dispatch[types.FunctionType] = save_global

    def save_set(self, value: set) -> None:
        self.save_reduce(set, (list(value),), obj=value)

    dispatch[set] = save_set


class Ch:
    """chumpy's array as it pickles: its dictionary, without caches."""

    def __init__(self, x: np.ndarray):
        self.x = x
        self._dirty_vars = {"x"}
        self._itr = None
        self._depends_on_deps: dict = {}

    def __getstate__(self) -> dict:
        return dict(self.__dict__)


class Select:
    """chumpy's selection: values idxs of the array a laid flat, in the shape preferred_shape."""

    def __init__(self, a: Ch, idxs: np.ndarray, preferred_shape: tuple[int, ...]):
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


Ch.__module__, Select.__module__ = "chumpy.ch", "chumpy.reordering"


@contextmanager
def pretended_chumpy() -> Iterator[None]:
    """Modules chumpy.ch and chumpy.reordering, for Python's own pickler; they are gone afterwards."""
    chumpy, ch, reordering = (types.ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering"))
    ch.Ch, reordering.Select = Ch, Select
    made = {"chumpy": chumpy, "chumpy.ch": ch, "chumpy.reordering": reordering}
    assert not made.keys() & sys.modules.keys()
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def flame_content(rng: np.random.Generator, size: int = 11, identity: int = 300, expression: int = 100) -> dict:
    """The arrays of a FLAME model file by their names, in metres, with `size`^2 vertices."""
    import scipy.sparse as sparse

    vertices, triangles = small_face(size)
    count = len(vertices)
    regressor = rng.random((5, count)) * (rng.random((5, count)) < 0.2) + 1e-3 * np.eye(5, count)
    weights = rng.random((count, 5)) ** 4
    return {
        "v_template": vertices / 1000 + [0.01, -0.2, 0.03],
        "shapedirs": rng.normal(0, 0.001, (count, 3, identity + expression)),
        "posedirs": rng.normal(0, 0.002, (count, 3, 36)),
        "J_regressor": sparse.csc_matrix(regressor / regressor.sum(1, keepdims=True)),
        "J": np.zeros((5, 3)),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
        "f": triangles.astype(np.uint32),
        "bs_type": "lrotmin",
        "bs_style": "lbs",
    }


def landmark_places(rng: np.random.Generator, shape: tuple[int, ...], triangles: int) -> tuple[np.ndarray, np.ndarray]:
    """Random triangles `shape` and barycentrics (*shape, 3)."""
    weights = rng.random((*shape, 3)) + 0.1
    return rng.integers(0, triangles, shape), weights / weights.sum(-1, keepdims=True)


def save_pickle(path: Path, value: Any, protocol: int = 2) -> Path:
    """Write a Python 2 pickle and return its path."""
    path.write_bytes(python2_pickle(value, protocol))
    return path
