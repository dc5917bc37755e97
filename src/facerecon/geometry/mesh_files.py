"""Reading and writing meshes: OBJ (with texture), PLY and binary glTF."""

import os
from pathlib import Path

from facerecon.errors import InputError
from facerecon.geometry.glb_files import write_glb
from facerecon.geometry.obj_files import read_obj, write_obj
from facerecon.geometry.ply_files import read_ply, write_ply
from facerecon.geometry.triangle_mesh import TriangleMesh

__all__ = ["TriangleMesh", "read_mesh", "read_obj", "read_ply", "write_glb", "write_obj", "write_ply"]


def read_mesh(path: str | os.PathLike) -> TriangleMesh:
    """The mesh of a .obj or .ply file; InputError, naming the file, for another kind or malformed content."""
    readers = {".obj": read_obj, ".ply": read_ply}
    suffix = Path(path).suffix.lower()
    if suffix not in readers:
        raise InputError(f"{path}: not a mesh file that can be read (.obj or .ply)")
    return readers[suffix](path)
