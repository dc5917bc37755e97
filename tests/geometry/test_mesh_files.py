import json
import struct

import numpy as np
import pytest
import trimesh

from facerecon.errors import InputError
from facerecon.geometry.mesh_files import read_mesh, read_obj, read_ply, write_glb, write_obj, write_ply


@pytest.fixture
def mesh():
    """Vertices, triangles, uv and a texture whose four corners differ."""
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(30, 3)) * 100
    triangles = rng.permuted(np.tile(np.arange(30), (50, 1)), axis=1)[:, :3]
    texture = np.zeros((4, 6, 3), np.uint8)
    texture[0, 0], texture[0, -1], texture[-1, 0] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return vertices, triangles, rng.uniform(size=(30, 2)), texture


def write_text(tmp_path, text, name="mesh.obj"):
    path = tmp_path / name
    path.write_text(text)
    return path


CORNERS = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvn 0 0 1\n"


@pytest.mark.parametrize(
    ("face", "triangles", "uv_triangles"),
    [
        ("f 1 2 3", [[0, 1, 2]], None),
        ("f 1/4 2/3 3/2", [[0, 1, 2]], [[3, 2, 1]]),
        ("f 1//1 2//1 3//1", [[0, 1, 2]], None),
        ("f 1/4/1 2/3/1 3/2/1", [[0, 1, 2]], [[3, 2, 1]]),
        ("f 1 2 3 4", [[0, 1, 2], [0, 2, 3]], None),
        ("f 1/1 2/2 3/3 4/4\nf 3/3 2/2 1/1", [[0, 1, 2], [0, 2, 3], [2, 1, 0]], [[0, 1, 2], [0, 2, 3], [2, 1, 0]]),
        ("f -4 -3 -2", [[0, 1, 2]], None),
        ("f -4/-1 -3/-2 -2/-3", [[0, 1, 2]], [[3, 2, 1]]),
        ("f -1 -2 -3\nv 9 9 9\nf -1 -2 -3", [[3, 2, 1], [4, 3, 2]], None),
        ("f 1 2 3\nf 1/1 2/2 3/3", [[0, 1, 2], [0, 1, 2]], None),
        ("f 1 2 \\\n3 4", [[0, 1, 2], [0, 2, 3]], None),
        ("o part\ng group\n  f\t1  2\t3   # the first\r\nusemtl x\ns off", [[0, 1, 2]], None),
    ],
)
def test_obj_face_forms(tmp_path, face, triangles, uv_triangles):
    mesh = read_obj(write_text(tmp_path, CORNERS + face + "\n"))
    np.testing.assert_array_equal(mesh.triangles, triangles)
    np.testing.assert_array_equal(mesh.vertices[:4], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    if uv_triangles is None:
        assert mesh.uv_triangles is None
    else:
        np.testing.assert_array_equal(mesh.uv_triangles, uv_triangles)
        np.testing.assert_array_equal(mesh.uv, [[0, 0], [1, 0], [1, 1], [0, 1]])


def test_obj_number_forms_and_colours(tmp_path):
    mesh = read_obj(write_text(tmp_path, "v -1.5e+1 .25 3 0.1 0.2 0.3\nv 1 2 3 0 0 0\nv 4 5 6 1 1 1\nf 1 2 3"))
    np.testing.assert_array_equal(mesh.vertices, [[-15, 0.25, 3], [1, 2, 3], [4, 5, 6]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("\n  \n", "empty"),
        ("hello", "no vertices"),
        (CORNERS, "no faces"),
        (CORNERS + "f 1 2", "fewer than three corners"),
        (CORNERS + "f 1 2 5", "does not exist"),
        (CORNERS + "f 0 1 2", "not a list of vertex numbers"),
        (CORNERS + "f -5 1 2", "does not exist"),
        (CORNERS + "f a b c", "not a list of vertex numbers"),
        (CORNERS + "f 1/9 2/9 3/9", "texture coordinate that does not exist"),
        (CORNERS + "f 1/1/1/1 2/1/1/1 3/1/1/1", "not a list of vertex numbers"),
        ("v 0 0 0\nv 1 0\nv 1 1 0\nf 1 2 3", "vertex line"),
        ("v 0 0\nv 1 0\nv 1 1\nf 1 2 3", "vertex line"),
        ("v 0 0 0\nv 1 0 zero\nv 1 1 0\nf 1 2 3", "vertex line"),
        ("v 0 0 0\nv 1 0 0\nv 1 1 0 0\nv 1 1\nf 1 2 3", "vertex line"),
    ],
)
def test_malformed_obj_is_named(tmp_path, text, reason):
    path = write_text(tmp_path, text)
    with pytest.raises(InputError, match=reason) as raised:
        read_obj(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_obj_written_and_read(tmp_path, mesh):
    vertices, triangles, uv, texture = mesh
    write_obj(tmp_path / "a.obj", vertices, triangles)
    plain = read_mesh(tmp_path / "a.obj")
    np.testing.assert_allclose(plain.vertices, vertices, rtol=1e-8)
    np.testing.assert_array_equal(plain.triangles, triangles)
    assert plain.uv is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.obj"]

    write_obj(tmp_path / "face" / "mesh.obj", vertices, triangles, uv, texture)
    assert sorted(path.name for path in (tmp_path / "face").iterdir()) == ["mesh.mtl", "mesh.obj", "texture.png"]
    textured = read_mesh(tmp_path / "face" / "mesh.obj")
    np.testing.assert_allclose(textured.uv, uv, atol=1e-8)
    np.testing.assert_array_equal(textured.uv_triangles, triangles)
    loaded = trimesh.load(tmp_path / "face" / "mesh.obj", process=False)
    np.testing.assert_array_equal(np.asarray(loaded.visual.material.image.convert("RGB")), texture)
    assert len(loaded.faces) == len(triangles)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
@pytest.mark.parametrize("coloured", [False, True])
def test_ply_of_another_writer(tmp_path, mesh, encoding, coloured):
    vertices, triangles, *_ = mesh
    colours = {"vertex_colors": np.zeros((30, 4), np.uint8), "face_colors": None} if coloured else {}
    other = trimesh.Trimesh(vertices, triangles, process=False, **colours)
    other.export(tmp_path / "a.ply", encoding=encoding)
    found = read_ply(tmp_path / "a.ply")
    np.testing.assert_allclose(found.vertices, vertices, atol=1e-4)
    np.testing.assert_array_equal(found.triangles, triangles)


def test_ply_written_and_read(tmp_path, mesh):
    vertices, triangles, *_ = mesh
    write_ply(tmp_path / "a.ply", vertices, triangles)
    for found in (read_mesh(tmp_path / "a.ply"), trimesh.load(tmp_path / "a.ply", process=False)):
        np.testing.assert_allclose(found.vertices, vertices, rtol=1e-6)
    np.testing.assert_array_equal(read_mesh(tmp_path / "a.ply").triangles, triangles)


HEADER = (
    "ply\nformat {} 1.0\ncomment made by hand\n"
    "element vertex 4\nproperty double x\nproperty double y\nproperty double z\nproperty uchar quality\n"
    "element face 2\nproperty uchar flags\nproperty list uchar int vertex_index\nend_header\n"
)
TEXT_BODY = "0 0 0 7\n1 0 0 7\n1 1 0 7\n0 1 0 7\n1 4 0 1 2 3\n1 3 2 1 0\n"


@pytest.mark.parametrize("name", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_polygons_and_other_properties(tmp_path, name):
    body = TEXT_BODY.encode()
    if name != "ascii":
        order = "<" if name == "binary_little_endian" else ">"
        corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
        body = b"".join(struct.pack(order + "dddB", *corner, 7) for corner in corners)
        body += struct.pack(order + "BB4i", 1, 4, 0, 1, 2, 3) + struct.pack(order + "BB3i", 1, 3, 2, 1, 0)
    path = tmp_path / "a.ply"
    path.write_bytes(HEADER.format(name).encode() + body)
    found = read_ply(path)
    np.testing.assert_array_equal(found.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(found.triangles, [[0, 1, 2], [0, 2, 3], [2, 1, 0]])
    path.write_bytes(HEADER.format(name).encode() + body[:-6])
    with pytest.raises(InputError, match="ends before its header says"):
        read_ply(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("solid stl", "not a PLY file"),
        ("ply\nformat ascii 1.0\nelement vertex 3\n", "not a PLY file, or its header is cut short"),
        ("ply\nformat utf8 1.0\nend_header\n", "cannot be understood: 'format utf8 1.0'"),
        ("ply\nelement vertex many\nend_header\n", "cannot be understood"),
        ("ply\nelement vertex 1\nproperty float x\nend_header\n", "names no format"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "needs vertices with x, y, z"),
        (HEADER.format("ascii") + TEXT_BODY.replace("0 1 2 3", "0 1 2 9"), "does not exist"),
        (HEADER.format("ascii") + TEXT_BODY.replace("3 2 1 0", "2 2 1"), "fewer than three corners"),
        (HEADER.format("ascii") + TEXT_BODY.replace("7", "seven"), "holds no numbers"),
    ],
)
def test_malformed_ply_is_named(tmp_path, text, reason):
    path = write_text(tmp_path, text, "a.ply")
    with pytest.raises(InputError, match=reason) as raised:
        read_ply(path)
    assert str(path) in str(raised.value)


def test_unreadable_paths(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_mesh(tmp_path / "none.obj")
    (tmp_path / "folder.ply").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read_mesh(tmp_path / "folder.ply")
    with pytest.raises(InputError, match="not a mesh file"):
        read_mesh(tmp_path / "face.stl")


def test_glb_loads_in_metres_with_texture_and_normals(tmp_path, mesh):
    vertices, triangles, uv, texture = mesh
    normals = vertices * 3.0
    write_glb(tmp_path / "face.glb", vertices, triangles, uv, texture, normals)
    found = trimesh.load(tmp_path / "face.glb", process=False).geometry["face"]
    np.testing.assert_allclose(found.vertices, vertices / 1000, rtol=1e-6)
    np.testing.assert_array_equal(found.faces, triangles)
    np.testing.assert_allclose(found.visual.uv, uv, atol=1e-6)  # trimesh counts v upward, as we do
    np.testing.assert_array_equal(np.asarray(found.visual.material.baseColorTexture.convert("RGB")), texture)
    expected = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    np.testing.assert_allclose(found.vertex_normals, expected, atol=1e-6)


def test_glb_structure(tmp_path, mesh):
    """The container as the specification, sections 3.6 and 4.4, wants it: lengths, alignment, bounds, targets."""
    vertices, triangles, uv, texture = mesh
    write_glb(tmp_path / "face.glb", vertices, triangles, uv, texture)
    data = (tmp_path / "face.glb").read_bytes()
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))
    json_length, json_kind = struct.unpack_from("<I4s", data, 12)
    binary_length, binary_kind = struct.unpack_from("<I4s", data, 20 + json_length)
    assert (json_kind, binary_kind) == (b"JSON", b"BIN\0")
    assert json_length % 4 == binary_length % 4 == 0
    assert 28 + json_length + binary_length == len(data)
    document = json.loads(data[20 : 20 + json_length])
    assert 0 <= binary_length - document["buffers"][0]["byteLength"] < 4
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= document["buffers"][0]["byteLength"]
    position = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    view = document["bufferViews"][position["bufferView"]]
    stored = np.frombuffer(data, "<f4", 90, 28 + json_length + view["byteOffset"]).reshape(30, 3)
    np.testing.assert_array_equal(np.float32(position["min"]), stored.min(axis=0))
    np.testing.assert_array_equal(np.float32(position["max"]), stored.max(axis=0))


def test_writers_refuse_what_does_not_fit(tmp_path, mesh):
    vertices, triangles, uv, texture = mesh
    for write in (write_obj, write_ply, write_glb):
        with pytest.raises(ValueError, match=r"\(V, 3\)"):
            write(tmp_path / "a", vertices[:, :2], triangles)
    for write in (write_obj, write_glb):
        with pytest.raises(ValueError, match="one texture coordinate pair a vertex"):
            write(tmp_path / "a", vertices, triangles, uv[:5])
        with pytest.raises(ValueError, match="needs texture coordinates"):
            write(tmp_path / "a", vertices, triangles, None, texture)
        with pytest.raises(ValueError, match="uint8 RGB"):
            write(tmp_path / "a", vertices, triangles, uv, texture[:, :, 0])
    with pytest.raises(ValueError, match="indices"):
        write_glb(tmp_path / "a", vertices, triangles + 1)
    with pytest.raises(ValueError, match="not all finite"):
        write_glb(tmp_path / "a", vertices * np.nan, triangles)
    assert not list(tmp_path.iterdir())
