"""Wavefront OBJ files."""

import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerecon.artefacts import atomic_file, read_bytes
from facerecon.errors import InputError
from facerecon.geometry.triangle_mesh import TriangleMesh, checked_mesh, polygons_to_triangles


def read_obj(path: str | os.PathLike) -> TriangleMesh:
    """Vertices, faces and texture coordinates of an OBJ file; all objects and groups as one mesh.

    Faces may be polygons, have the forms v, v/vt, v//vn, v/vt/vn and count backwards (negative indices). Vertex
    colours, normals and materials are passed over. Raises InputError, naming the file, for content that is malformed.
    """
    data = read_bytes(path).replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").replace(b"\r", b"\n").replace(b"\t", b" ")
    lines = data.split(b"\n")
    if any(line.startswith(b" ") for line in lines):
        lines = [line.lstrip() for line in lines]
    vertices = _read_columns(path, "vertex", [line[2:] for line in lines if line.startswith(b"v ")], (3, 4, 6, 7), 3)
    uv = _read_columns(path, "texture coordinate", [line[3:] for line in lines if line.startswith(b"vt ")], (2, 3), 2)
    faces = [_without_comment(line[2:]) for line in lines if line.startswith(b"f ")]
    if not faces:
        return checked_mesh(path, TriangleMesh(vertices, np.zeros((0, 3), np.int64)))

    corner_counts = np.array([len(face.split()) for face in faces])
    if corner_counts.min() < 3:
        raise InputError(f"{path}: a face has fewer than three corners; is the file cut short?")
    corners = _read_corners(path, b" ".join(faces))
    if (corners < 0).any():
        corners = _resolve_negative(lines, corner_counts, corners)
    triangles = polygons_to_triangles(corner_counts)
    has_uv = len(uv) > 0 and (corners[:, 1] > 0).all()
    return checked_mesh(
        path,
        TriangleMesh(
            vertices,
            corners[triangles, 0] - 1,
            uv if has_uv else None,
            corners[triangles, 1] - 1 if has_uv else None,
        ),
    )


def write_obj(
    path: str | os.PathLike,
    vertices: ArrayLike,
    triangles: ArrayLike,
    uv: ArrayLike | None = None,
    texture: NDArray[np.uint8] | None = None,
    texture_name: str = "texture.png",
) -> None:
    """Write an OBJ file, and with a texture also `<stem>.mtl` and the picture beside it.

    vertices: (V, 3), nine significant digits are kept. triangles: (F, 3), 0-based. uv: (V, 2) in [0, 1], u right, v up.
    texture: (H, W, 3) uint8 sRGB, top row first; needs uv. Each file is written atomically.
    Raises ValueError if shapes do not fit.
    """
    path = Path(path)
    vertices, triangles = np.asarray(vertices, np.float64), np.asarray(triangles, np.int64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"(V, 3) vertices and (F, 3) triangles expected, got {vertices.shape}, {triangles.shape}")
    if uv is not None and np.shape(uv) != (len(vertices), 2):
        raise ValueError(f"one texture coordinate pair a vertex expected, got {np.shape(uv)}")
    if texture is not None and uv is None:
        raise ValueError("a texture needs texture coordinates")
    one_based = triangles + 1
    parts = []
    if texture is not None:
        parts.append(f"mtllib {path.stem}.mtl\nusemtl face\n")
        with atomic_file(path.parent / texture_name) as temporary:
            temporary.write_bytes(encode_png(texture))
        with atomic_file(path.with_suffix(".mtl")) as temporary:
            temporary.write_text(f"newmtl face\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture_name}\n")
    parts.append(_format_rows("v %.9g %.9g %.9g\n", vertices))
    if uv is None:
        parts.append(_format_rows("f %d %d %d\n", one_based))
    else:
        parts.append(_format_rows("vt %.9g %.9g\n", np.asarray(uv, np.float64)))
        parts.append(_format_rows("f %d/%d %d/%d %d/%d\n", np.repeat(one_based, 2, axis=1)))
    with atomic_file(path) as temporary:
        temporary.write_text("".join(parts))


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """PNG bytes of an (H, W, 3) uint8 RGB picture. Raises ValueError for another shape or type."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an (H, W, 3) uint8 RGB picture expected, got {image.dtype} {image.shape}")
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def _read_columns(
    path: str | os.PathLike, what: str, lines: list[bytes], allowed: tuple[int, ...], kept: int
) -> NDArray[np.float64]:
    lines = [_without_comment(line) for line in lines]
    if not lines:
        return np.zeros((0, kept))
    columns = len(lines[0].split())
    numbers = _parse_numbers(b" ".join(lines), np.float64)
    regular = all(len(line.split()) == columns for line in lines)
    if columns not in allowed or not regular or len(numbers) != columns * len(lines):
        raise InputError(f"{path}: a {what} line does not hold {kept} numbers like the others; is the file cut short?")
    return np.ascontiguousarray(numbers.reshape(-1, columns)[:, :kept])


def _read_corners(path: str | os.PathLike, text: bytes) -> NDArray[np.int64]:
    """(C, 2) vertex and texture coordinate index of each face corner, 1-based or negative, 0 where there is none."""
    tokens = text.split()
    slashes = {token.count(b"/") for token in tokens} if b"/" in text else {0}
    if len(slashes) > 1:  # faces with and without texture coordinates in one file
        text, slashes = b" ".join(token + b"/0" * (2 - token.count(b"/")) for token in tokens), {2}
    width = slashes.pop() + 1
    numbers = _parse_numbers(text.replace(b"//", b"/0/").replace(b"/", b" "), np.int64)
    if width > 3 or len(numbers) != width * len(tokens) or (numbers.reshape(-1, width)[:, 0] == 0).any():
        raise InputError(f"{path}: a face is not a list of vertex numbers (v, v/vt, v//vn or v/vt/vn)")
    corners = numbers.reshape(-1, width)
    return corners[:, :2] if width > 1 else np.concatenate([corners, np.zeros_like(corners)], axis=1)


def _resolve_negative(lines: list[bytes], corner_counts: NDArray, corners: NDArray) -> NDArray[np.int64]:
    """Indices that count back from the vertices read so far, as 1-based ones; out-of-range ones become 0 or less."""
    seen = np.zeros((len(corner_counts), 2), np.int64)
    vertices = texture_coordinates = face = 0
    for line in lines:
        if line.startswith(b"v "):
            vertices += 1
        elif line.startswith(b"vt "):
            texture_coordinates += 1
        elif line.startswith(b"f "):
            seen[face] = vertices, texture_coordinates
            face += 1
    return np.where(corners < 0, corners + np.repeat(seen, corner_counts, axis=0) + 1, corners)


def _parse_numbers(text: bytes, dtype: type) -> NDArray:
    """The numbers of a blank-separated text; none if anything else is in it, so that callers need only count."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # what older numpy gives in place of ValueError
        try:
            return np.fromstring(text, dtype=dtype, sep=" ")
        except (ValueError, DeprecationWarning):
            return np.zeros(0, dtype)


def _without_comment(line: bytes) -> bytes:
    return line.partition(b"#")[0] if b"#" in line else line


def _format_rows(row_format: str, rows: NDArray) -> str:
    return (row_format * len(rows)) % tuple(rows.ravel().tolist())
