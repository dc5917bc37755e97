"""Stanford PLY files: text and binary."""

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerecon.artefacts import atomic_file, read_bytes
from facerecon.errors import InputError
from facerecon.geometry.triangle_mesh import TriangleMesh, checked_mesh, polygons_to_triangles

_TYPES = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2"},
    **{"ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_FACE_LISTS = ("vertex_indices", "vertex_index")


class _Property(NamedTuple):
    """type: numpy code of the value or of a list's items. count_type: of a list's length, None for a single value."""

    name: str
    type: str
    count_type: str | None


class _Element(NamedTuple):
    name: str
    count: int
    properties: list[_Property]


def read_ply(path: str | os.PathLike) -> TriangleMesh:
    """Vertices and faces of a PLY file: ascii, binary little or big endian.

    Polygons become fans of triangles; other data is passed over.
    Raises InputError, naming the file, for content that is malformed or cut short.
    """
    data = read_bytes(path)
    byte_order, elements, body = _read_header(path, data)
    try:
        source = _BinarySource(data, body, byte_order) if byte_order else _TextSource(data[body:])
        values = {element.name: _read_element(source, element) for element in elements}
    except (ValueError, IndexError):
        raise InputError(f"{path}: the file ends before its header says, or holds no numbers; write it again") from None
    try:
        vertices = np.stack([values["vertex"][axis] for axis in "xyz"], axis=1).astype(np.float64)
        counts, corners = next(values["face"][name] for name in _FACE_LISTS if name in values["face"])
    except (KeyError, StopIteration):
        raise InputError(f"{path}: needs vertices with x, y, z and faces with a list {_FACE_LISTS[0]}") from None
    if len(counts) and counts.min() < 3:
        raise InputError(f"{path}: a face has fewer than three corners")
    return checked_mesh(path, TriangleMesh(vertices, corners.astype(np.int64)[polygons_to_triangles(counts)]))


def write_ply(path: str | os.PathLike, vertices: ArrayLike, triangles: ArrayLike) -> None:
    """Write a binary little-endian PLY file, atomically.

    vertices: (V, 3), kept as float32. triangles: (F, 3), 0-based. Raises ValueError for other shapes.
    """
    vertices, triangles = np.asarray(vertices, "<f4"), np.asarray(triangles)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"(V, 3) vertices and (F, 3) triangles expected, got {vertices.shape}, {triangles.shape}")
    faces = np.empty(len(triangles), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, triangles
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    with atomic_file(path) as temporary:
        temporary.write_bytes(header.encode() + vertices.tobytes() + faces.tobytes())


def _read_header(path: str | os.PathLike, data: bytes) -> tuple[str, list[_Element], int]:
    """Byte order ("" for text), elements and the position of the first byte after the header."""
    end = data.find(b"end_header")
    line_end = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0:
        raise InputError(f"{path}: not a PLY file, or its header is cut short")
    byte_order, elements = None, []
    try:
        for line in data[:end].decode("ascii", "replace").splitlines()[1:]:
            words = line.split()
            if words[:1] == ["format"]:
                byte_order = _BYTE_ORDERS[words[1]]
            elif words[:1] == ["element"]:
                elements.append(_Element(words[1], int(words[2]), []))
            elif words[:2] == ["property", "list"]:
                elements[-1].properties.append(_Property(words[4], _TYPES[words[3]], _TYPES[words[2]]))
            elif words[:1] == ["property"]:
                elements[-1].properties.append(_Property(words[2], _TYPES[words[1]], None))
    except (KeyError, IndexError, ValueError):
        raise InputError(f"{path}: the PLY header has a line that cannot be understood: {line.strip()!r}") from None
    if byte_order is None or any(element.count < 0 for element in elements):
        raise InputError(f"{path}: the PLY header names no format, or a negative count")
    return byte_order, elements, (line_end + 1 if line_end >= 0 else len(data))


class _TextSource:
    """Values of a text file, all numbers, one after the other."""

    def __init__(self, body: bytes):
        self._numbers, self._position = np.array(body.split(), dtype=np.float64), 0

    def take(self, type_code: str, count: int) -> NDArray:
        del type_code  # text has no widths
        values = self._numbers[self._position : self._position + count]
        self._position += count
        return values

    def table(self, element: _Element) -> dict | None:
        """The element's columns if all its lists hold three items, else None with nothing taken."""
        width = sum(1 if prop.count_type is None else 4 for prop in element.properties)
        start, end = self._position, self._position + element.count * width
        if end > len(self._numbers):
            return None
        rows, columns, column = self._numbers[start:end].reshape(element.count, width), {}, 0
        for prop in element.properties:
            if prop.count_type is None:
                columns[prop.name] = rows[:, column]
                column += 1
                continue
            counts = rows[:, column]
            if (counts != 3).any():
                return None
            columns[prop.name] = counts.astype(np.int64), rows[:, column + 1 : column + 4].reshape(-1)
            column += 4
        self._position = end
        return columns


class _BinarySource:
    """Values of a binary file from `position` on. order: numpy byte order, < or >."""

    def __init__(self, data: bytes, position: int, order: str):
        self._data, self._position, self._order = data, position, order

    def take(self, type_code: str, count: int) -> NDArray:
        values = np.frombuffer(self._data, self._order + type_code, count, self._position)
        self._position += values.nbytes
        return values

    def table(self, element: _Element) -> dict | None:
        """The element's columns if all its lists hold three items, else None with nothing taken."""
        fields = []
        for prop in element.properties:
            if prop.count_type is not None:
                fields += [
                    (f"{prop.name} count", self._order + prop.count_type),
                    (prop.name, self._order + prop.type, 3),
                ]
            else:
                fields.append((prop.name, self._order + prop.type))
        row = np.dtype(fields)
        if self._position + element.count * row.itemsize > len(self._data):
            return None
        rows = np.frombuffer(self._data, row, element.count, self._position)
        columns: dict = {}
        for prop in element.properties:
            columns[prop.name] = rows[prop.name]
            if prop.count_type is not None:
                counts = rows[f"{prop.name} count"]
                if (counts != 3).any():
                    return None
                columns[prop.name] = counts.astype(np.int64), rows[prop.name].reshape(-1)
        self._position += rows.nbytes
        return columns


def _read_element(source: _TextSource | _BinarySource, element: _Element) -> dict:
    """Columns of an element: scalars (N,), lists as a pair of lengths (N,) and all items in one flat array."""
    table = source.table(element)
    if table is not None:
        return table
    values: dict[str, list[NDArray]] = {prop.name: [] for prop in element.properties}
    counts: dict[str, list[int]] = {prop.name: [] for prop in element.properties}
    for _ in range(element.count):
        for prop in element.properties:
            length = 1 if prop.count_type is None else int(source.take(prop.count_type, 1)[0])
            items = source.take(prop.type, length)
            if length < 0 or len(items) != length:
                raise ValueError("the data ends early")
            values[prop.name].append(items)
            counts[prop.name].append(length)
    return {
        prop.name: np.concatenate(values[prop.name])
        if prop.count_type is None
        else (np.array(counts[prop.name], np.int64), np.concatenate(values[prop.name]))
        for prop in element.properties
    }
