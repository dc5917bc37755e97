"""Binary glTF 2.0 files: one textured mesh that opens in viewers, browsers and modelling programs."""

import json
import os
import struct

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facerecon.artefacts import atomic_file
from facerecon.geometry.obj_files import encode_png

_METRES_PER_MM = 0.001
_FLOAT, _UINT32 = 5126, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP_TO_EDGE = 9729, 9987, 33071
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942


def write_glb(
    path: str | os.PathLike,
    vertices: ArrayLike,
    triangles: ArrayLike,
    uv: ArrayLike | None = None,
    texture: NDArray[np.uint8] | None = None,
    normals: ArrayLike | None = None,
) -> None:
    """Write a mesh as .glb, atomically: metres, y up, z toward the viewer (glTF's frame is the head frame).

    vertices: (V, 3) mm, head frame. triangles: (F, 3), 0-based, counter-clockwise seen from outside. uv: (V, 2) in
    [0, 1], u right, v up. texture: (H, W, 3) uint8 sRGB, top row first; needs uv; embedded as PNG. normals: (V, 3), any
    length; where zero they point to +z.
    Source: Khronos glTF 2.0 specification, sections 3 and 4. Raises ValueError if shapes do not fit or a coordinate is
    not finite.
    """
    vertices = np.asarray(vertices, np.float64)
    triangles = np.asarray(triangles)
    _check(vertices, triangles, uv, texture, normals)
    writer = _BufferWriter()
    positions = (vertices * _METRES_PER_MM).astype("<f4")
    primitive = {
        "attributes": {"POSITION": writer.add_accessor(positions, "VEC3", _ARRAY_BUFFER, with_bounds=True)},
        "indices": writer.add_accessor(triangles.astype("<u4").reshape(-1), "SCALAR", _ELEMENT_ARRAY_BUFFER),
        "material": 0,
    }
    if normals is not None:
        primitive["attributes"]["NORMAL"] = writer.add_accessor(_unit_normals(normals), "VEC3", _ARRAY_BUFFER)
    if uv is not None:
        # glTF counts v from the picture's top.
        flipped = np.asarray(uv, np.float64) * (1.0, -1.0) + (0.0, 1.0)
        primitive["attributes"]["TEXCOORD_0"] = writer.add_accessor(flipped.astype("<f4"), "VEC2", _ARRAY_BUFFER)
    surface: dict = {"metallicFactor": 0.0, "roughnessFactor": 0.8}
    document: dict = {
        "asset": {"version": "2.0", "generator": "facerecon"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "face"}],
        "meshes": [{"primitives": [primitive], "name": "face"}],
        "materials": [{"name": "face", "pbrMetallicRoughness": surface, "doubleSided": True}],
    }
    if texture is not None:
        surface["baseColorTexture"] = {"index": 0}
        document["textures"] = [{"source": 0, "sampler": 0}]
        document["images"] = [{"bufferView": writer.add_view(encode_png(texture)), "mimeType": "image/png"}]
        document["samplers"] = [
            {
                "magFilter": _LINEAR,
                "minFilter": _LINEAR_MIPMAP_LINEAR,
                "wrapS": _CLAMP_TO_EDGE,
                "wrapT": _CLAMP_TO_EDGE,
            }
        ]
    document |= {"accessors": writer.accessors, "bufferViews": writer.views}
    document["buffers"] = [{"byteLength": len(writer.data)}]
    text = json.dumps(document, separators=(",", ":")).encode()
    chunks = _chunk(_JSON_CHUNK, text, b" ") + _chunk(_BINARY_CHUNK, bytes(writer.data), b"\0")
    with atomic_file(path) as temporary:
        temporary.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


class _BufferWriter:
    """Collects the binary buffer with its views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict] = []
        self.accessors: list[dict] = []

    def add_view(self, content: bytes, target: int | None = None) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        self.views.append(view if target is None else view | {"target": target})
        self.data += content
        return len(self.views) - 1

    def add_accessor(self, values: NDArray, kind: str, target: int, with_bounds: bool = False) -> int:
        accessor = {
            "bufferView": self.add_view(values.tobytes(), target),
            "componentType": _UINT32 if values.dtype.kind == "u" else _FLOAT,
            "count": len(values),
            "type": kind,
        }
        if with_bounds:
            accessor |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _unit_normals(normals: ArrayLike) -> NDArray:
    normals = np.asarray(normals, np.float64)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1.0), (0.0, 0.0, 1.0)).astype("<f4")


def _chunk(kind: int, content: bytes, padding: bytes) -> bytes:
    content += padding * (-len(content) % 4)
    return struct.pack("<II", len(content), kind) + content


def _check(vertices: NDArray, triangles: NDArray, uv, texture, normals) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"(V, 3) vertices and (F, 3) triangles expected, got {vertices.shape}, {triangles.shape}")
    if len(triangles) == 0 or triangles.min() < 0 or triangles.max() >= len(vertices):
        raise ValueError("a mesh needs at least one triangle, and indices between 0 and the vertex count")
    if uv is not None and np.shape(uv) != (len(vertices), 2):
        raise ValueError(f"one texture coordinate pair a vertex expected, got {np.shape(uv)}")
    if normals is not None and np.shape(normals) != vertices.shape:
        raise ValueError(f"one normal a vertex expected, got {np.shape(normals)}")
    if texture is not None and uv is None:
        raise ValueError("a texture needs texture coordinates")
    for name, values in (("vertices", vertices), ("uv", uv), ("normals", normals)):
        if values is not None and not np.isfinite(np.asarray(values, np.float64)).all():
            raise ValueError(f"{name} are not all finite")
