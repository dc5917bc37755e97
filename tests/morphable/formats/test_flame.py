import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from published_models import converted
from publisher_files import (
    Ch,
    Select,
    flame_content,
    landmark_places,
    outward_volume,
    save_pickle,
    small_face,
)

from facerecon.errors import InputError
from facerecon.geometry.obj_files import read_obj
from facerecon.morphable.formats.flame import read
from facerecon.morphable.skinned import JAW_UNIT, SkinnedFaceModel

COUNT, TRIANGLES = 121, 200


def as_published(content: dict) -> dict:
    """Arrays as the 2017 file holds them: the trained ones in chumpy."""
    kept = dict(content)
    for name in ("v_template", "weights", "posedirs"):
        kept[name] = Ch(content[name])
    directions = content["shapedirs"]
    kept["shapedirs"] = Select(Ch(directions), np.arange(directions.size), directions.shape)
    return kept


def write_npz(path: Path, content: dict) -> Path:
    np.savez(path, **content)
    return path


def write_model(folder: Path, kind: str) -> tuple[Path, dict]:
    content = flame_content(np.random.default_rng(0))
    if kind == "npz":
        return write_npz(folder / "FLAME_NEUTRAL.npz", content), content
    if kind == "python 3":
        path = folder / "flame2023.pkl"
        path.write_bytes(pickle.dumps(content, 4))
        return path, content
    protocol = 0 if kind == "protocol 0" else 2
    return save_pickle(folder / "generic_model.pkl", as_published(content), protocol), content


def write_embedding(folder: Path, rng: np.random.Generator, tensors: bool = True) -> tuple[Path, dict]:
    full, moving = landmark_places(rng, (1, 68), TRIANGLES), landmark_places(rng, (79, 17), TRIANGLES)
    static = landmark_places(rng, (51,), TRIANGLES)
    held = dict(zip(("full_lmk_faces_idx", "full_lmk_bary_coords"), full, strict=True))
    held |= dict(zip(("static_lmk_faces_idx", "static_lmk_bary_coords"), static, strict=True))
    held |= dict(zip(("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"), moving, strict=True))
    stored = dict(held)
    if tensors:  # as DECA's file has them
        for name in ("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"):
            stored[name] = torch.from_numpy(held[name])
    np.save(folder / "landmark_embedding.npy", np.array(stored), allow_pickle=True)
    return folder / "landmark_embedding.npy", held


def unposed(content: dict, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """The published formula without pose, mm, in the publisher's frame."""
    return 1000 * (content["v_template"] + content["shapedirs"] @ np.concatenate([identity, expression]))


@pytest.mark.parametrize("kind", ["protocol 2", "protocol 0", "python 3", "npz"])
def test_vertices_are_the_published_sum(tmp_path: Path, kind: str) -> None:
    path, content = write_model(tmp_path, kind)
    embedding, held = write_embedding(tmp_path, np.random.default_rng(1), tensors=kind != "npz")
    model = read([embedding, path])
    assert len(model.identity) == 300 and len(model.expression) == 100
    rng = np.random.default_rng(2)
    identity, expression = rng.normal(size=300), rng.normal(size=100)
    mean, moved = unposed(content, np.zeros(300), np.zeros(100)), unposed(content, identity, expression)
    corners = content["f"][held["full_lmk_faces_idx"][0]]

    def landmarks(vertices: np.ndarray) -> np.ndarray:
        return (vertices[corners] * held["full_lmk_bary_coords"][0, :, :, None]).sum(1)

    origin = landmarks(mean).mean(0)
    np.testing.assert_allclose(model.decode(identity, expression), moved - origin, atol=1e-4)
    np.testing.assert_allclose(model.landmarks(moved), landmarks(moved), atol=1e-4)
    skinning = model.skinning
    assert skinning.joint_names == ("root", "neck", "jaw", "left_eye", "right_eye")
    assert skinning.parents.tolist() == [-1, 0, 1, 1, 1]
    np.testing.assert_allclose(skinning.joint_regressor, content["J_regressor"].toarray(), atol=1e-6)
    np.testing.assert_allclose(model.joint_offsets, 0, atol=1e-4)
    np.testing.assert_allclose(skinning.pose_correctives[5], 1000 * content["posedirs"][:, :, 5], atol=1e-5)
    assert outward_volume(model.mean, model.triangles) > 0


def test_joints_are_the_publisher_s_whatever_their_rows_sum_to(tmp_path: Path) -> None:
    path, content = write_model(tmp_path, "python 3")
    sums = np.array([1.02, 0.97, 1.0, 1.0005, 0.9])
    content["J_regressor"] = sparse.csc_matrix(content["J_regressor"].toarray() * sums[:, None])
    path.write_bytes(pickle.dumps(content, 4))
    embedding, _ = write_embedding(tmp_path, np.random.default_rng(1))
    model = read([embedding, path])
    rng = np.random.default_rng(2)
    identity, expression = rng.normal(size=300), rng.normal(size=100)
    joints = model.skinning.joint_regressor @ model.decode(identity, expression) + model.joint_offsets
    published = content["J_regressor"] @ unposed(content, identity, expression)
    np.testing.assert_allclose(joints + model.origin, published, atol=1e-3)
    # The published skinning with the jaw turned about x, in the publisher's frame.
    angle = 3 * JAW_UNIT
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    feature = np.concatenate([np.zeros(9), (turn - np.eye(3)).ravel(), np.zeros(18)])
    posed = unposed(content, identity, expression) + 1000 * content["posedirs"] @ feature
    share = content["weights"][:, 2:3]
    expected = share * ((posed - published[2]) @ turn.T + published[2]) + (1 - share) * posed
    skinned = SkinnedFaceModel(converted(model)).double()
    coefficients = torch.tensor(np.concatenate([expression, [3, 0, 0]]))
    found = skinned.decode(torch.tensor(identity)[None], coefficients[None])[0].numpy()
    np.testing.assert_allclose(found + model.origin, expected, atol=2e-3)


def test_triangles_of_the_other_winding_keep_their_landmarks(tmp_path: Path) -> None:
    path, content = write_model(tmp_path, "python 3")
    embedding, held = write_embedding(tmp_path, np.random.default_rng(1))
    straight = read([path, embedding])
    path.write_bytes(pickle.dumps(content | {"f": content["f"][:, [0, 2, 1]]}, 4))
    held["full_lmk_bary_coords"] = held["full_lmk_bary_coords"][..., [0, 2, 1]]
    np.save(embedding, np.array(held), allow_pickle=True)
    turned = read([path, embedding])
    np.testing.assert_array_equal(turned.triangles, straight.triangles)
    np.testing.assert_allclose(turned.landmark_barycentric, straight.landmark_barycentric)


def test_static_and_dynamic_files_make_68(tmp_path: Path) -> None:
    path, _ = write_model(tmp_path, "python 3")
    rng = np.random.default_rng(3)
    static, moving = landmark_places(rng, (51,), TRIANGLES), landmark_places(rng, (79, 17), TRIANGLES)
    names = ("lmk_face_idx", "lmk_b_coords")
    save_pickle(tmp_path / "flame_static_embedding.pkl", dict(zip(names, static, strict=True)))
    np.save(tmp_path / "flame_dynamic_embedding.npy", np.array(dict(zip(names, moving, strict=True))))
    model = read([path, tmp_path / "flame_dynamic_embedding.npy", tmp_path / "flame_static_embedding.pkl"])
    np.testing.assert_array_equal(model.landmark_triangles, np.concatenate([moving[0][0], static[0]]))
    np.testing.assert_allclose(model.landmark_barycentric[20], static[1][3], atol=1e-6)
    assert read([path, tmp_path / "flame_static_embedding.pkl"]).landmark_triangles is None


@pytest.mark.parametrize("mirrored", [False, True])
def test_contour_is_ordered_by_yaw_as_the_surface_tells(tmp_path: Path, mirrored: bool) -> None:
    """The file's rows 0 to 39 are for one side and 40 to 78 for the other, by growing angle."""
    path, _ = write_model(tmp_path, "python 3")
    embedding, held = write_embedding(tmp_path, np.random.default_rng(1))
    vertices, triangles = small_face()
    centroids = vertices[triangles].mean(1)
    angle = np.concatenate([np.arange(40), -np.arange(1, 40)]) * (-1 if mirrored else 1)
    spread = np.linspace(-60, 60, 17)
    # Turning to the left hides the left cheek: its contour moves in, to the front of the face.
    for row, yaw in enumerate(angle):
        target_x = spread - 0.9 * yaw
        for point in range(17):
            held["dynamic_lmk_faces_idx"][row, point] = np.abs(centroids[:, 0] - target_x[point]).argmin()
    np.save(embedding, np.array(held), allow_pickle=True)
    contour = read([path, embedding]).contour
    np.testing.assert_array_equal(contour.yaw_degrees, np.arange(-39, 40))
    np.testing.assert_array_equal(contour.triangles[39], held["dynamic_lmk_faces_idx"][0])
    row = int(np.flatnonzero(angle == 39)[0])
    np.testing.assert_array_equal(contour.triangles[-1], held["dynamic_lmk_faces_idx"][row])
    np.testing.assert_allclose(contour.barycentric[-1], held["dynamic_lmk_bary_coords"][row], atol=1e-6)


def chart_with_seam(triangles: np.ndarray, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A chart (T, 2), (F, 3) in which the left and right halves of the face are apart: its middle is a seam."""
    left = vertices[triangles].mean(1)[:, 0] > 0
    flat = vertices[:, :2] / [160, 200] + 0.5
    uv = np.concatenate([flat * [0.45, 1], flat * [0.45, 1] + [0.55, 0]])
    return uv, triangles + len(vertices) * left[:, None]


def test_texture_space_is_sampled_at_the_chart_s_places(tmp_path: Path) -> None:
    path, _ = write_model(tmp_path, "python 3")
    vertices, triangles = small_face()
    uv, corners = chart_with_seam(triangles, vertices)
    size, count = 16, 6
    rng = np.random.default_rng(4)
    # Linear in row and column, so that bilinear samples are exact away from the border.
    centre = (np.arange(size) + 0.5) / size
    slopes = rng.uniform(20, 60, (2, 3))
    mean = 60 + centre[None, :, None] * slopes[0] + (1 - centre)[:, None, None] * slopes[1]
    basis = rng.normal(0, 4, count) * np.ones((size, size, 3, 1)) * np.array([1.0, 2, 3])[:, None]
    np.savez(tmp_path / "FLAME_texture.npz", mean=mean, tex_dir=basis, vt=uv, ft=corners.astype(np.uint32))
    model = read([path, tmp_path / "FLAME_texture.npz"])

    copies = len(model.seam_copies)
    assert copies == 11 and len(model.mean) == COUNT + copies  # the column of vertices in the middle
    np.testing.assert_array_equal(model.mean[COUNT:], model.mean[model.seam_copies])
    np.testing.assert_array_equal(model.skinning.weights[COUNT:], model.skinning.weights[model.seam_copies])
    assert model.skinning.joint_regressor[:, COUNT:].max() == 0
    np.testing.assert_allclose(model.uv[model.triangles], uv[corners], atol=1e-6)
    inside = (model.uv > 0.5 / size).all(1) & (model.uv < 1 - 0.5 / size).all(1)
    display = (60 + model.uv[:, :1] * slopes[0] + model.uv[:, 1:] * slopes[1])[:, ::-1] / 255  # the file is B, G, R
    exact = ((display + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(model.albedo_mean[inside], exact[inside], atol=1e-6)
    slope = 2.4 / 1.055 * ((display + 0.055) / 1.055) ** 1.4
    expected = basis[0, 0, ::-1, 2] / 255 * slope
    np.testing.assert_allclose(model.albedo[2][inside], expected[inside], atol=1e-6)


def test_texture_from_the_bfm_takes_its_chart_from_elsewhere(tmp_path: Path) -> None:
    path, content = write_model(tmp_path, "python 3")
    vertices, triangles = small_face()
    uv, corners = chart_with_seam(triangles, vertices)
    size, count = 8, 5
    rng = np.random.default_rng(5)
    colour = np.array([0.2, 0.5, 0.8])
    basis = rng.normal(0, 0.1, (3, count))
    np.savez(
        tmp_path / "FLAME_albedo_from_BFM.npz",
        MU=np.tile(colour, size * size),
        PC=np.tile(basis, (size * size, 1)),
    )
    with pytest.raises(InputError, match=r"FLAME_albedo_from_BFM\.npz: has no UV chart"):
        read([path, tmp_path / "FLAME_albedo_from_BFM.npz"])
    lines = [f"v {x} {y} {z}" for x, y, z in content["v_template"]] + [f"vt {u} {v}" for u, v in uv]
    lines += [
        "f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(face, place, strict=True))
        for face, place in zip(triangles, corners, strict=True)
    ]
    template = tmp_path / "head_template.obj"
    template.write_text("\n".join(lines) + "\n")
    assert read_obj(template).uv is not None
    model = read([path, tmp_path / "FLAME_albedo_from_BFM.npz", template])
    np.testing.assert_allclose(model.uv[model.triangles], uv[corners], atol=1e-6)
    linear = ((colour[::-1] + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(model.albedo_mean, np.tile(linear, (len(model.mean), 1)), atol=1e-6)
    slope = 2.4 / 1.055 * ((colour[::-1] + 0.055) / 1.055) ** 1.4
    np.testing.assert_allclose(model.albedo[:, 7], basis[::-1].T * slope, atol=1e-6)


def test_full_size(tmp_path: Path) -> None:
    """5,023 vertices, 9,976 triangles and 400 components, as float32 to be quick."""
    rng = np.random.default_rng(6)
    content = flame_content(rng, size=71)  # 5,041
    content["shapedirs"] = content["shapedirs"][:5023].astype(np.float32)
    for name in ("v_template", "posedirs", "weights"):
        content[name] = content[name][:5023]
    regressor = sparse.csc_matrix(content["J_regressor"])[:, :5023].toarray()
    content["J_regressor"] = sparse.csc_matrix(regressor / regressor.sum(1, keepdims=True))
    inside = content["f"][(content["f"] < 5023).all(1)]
    content["f"] = np.concatenate([inside, inside])[:9976]
    model = read([save_pickle(tmp_path / "generic_model.pkl", content)])
    assert model.mean.shape == (5023, 3) and model.triangles.shape == (9976, 3)
    assert model.identity.shape == (300, 5023, 3) and model.skinning.pose_correctives.shape == (36, 5023, 3)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    path, content = write_model(tmp_path, "python 3")
    embedding, held = write_embedding(tmp_path, np.random.default_rng(1))
    with pytest.raises(InputError, match="needs also the model"):
        read([embedding])
    with pytest.raises(InputError, match="a second generic_model"):
        read([path, path])
    for change, match in (
        ({"shapedirs": content["shapedirs"][:, :, :300]}, "300 components"),
        ({"shapedirs": content["shapedirs"][:-1]}, r"shapedirs has shape \(120, 3, 400\), where \(121, 3, any\)"),
        ({"weights": content["weights"] * 2}, "rows of weights do not sum to 1"),
        ({"J_regressor": sparse.csr_matrix((5, 2**40))}, "J_regressor has shape"),
        ({"kintree_table": np.array([[-1, 0, 3, 1, 1], np.arange(5)])}, "joint before its parent"),
        ({"posedirs": np.zeros((COUNT, 3, 27))}, "posedirs has shape"),
        ({"f": content["f"] + 1}, "f has an index outside"),
        ({"v_template": [[1, 2], [3]]}, "v_template holds no numbers"),
    ):
        broken = tmp_path / "broken.pkl"
        broken.write_bytes(pickle.dumps(content | change, 4))
        with pytest.raises(InputError, match=match) as caught:
            read([broken])
        assert "\n" not in str(caught.value)
    for change, match in (
        ({"full_lmk_faces_idx": held["full_lmk_faces_idx"] + 200}, "full_lmk_faces_idx has an index"),
        ({"full_lmk_bary_coords": held["full_lmk_bary_coords"] * 2}, "do not sum to 1"),
        ({"dynamic_lmk_faces_idx": held["dynamic_lmk_faces_idx"][:70]}, "dynamic_lmk_faces_idx has shape"),
    ):
        np.save(embedding, np.array(held | change), allow_pickle=True)
        with pytest.raises(InputError, match=match):
            read([path, embedding])
    np.savez(tmp_path / "albedoModel2020_FLAME_albedoPart.npz", MU=np.zeros(3), PC=np.zeros(3), specMU=np.zeros(3))
    with pytest.raises(InputError, match=r"albedoModel2020_FLAME_albedoPart\.npz: none of this format's files"):
        read([path, tmp_path / "albedoModel2020_FLAME_albedoPart.npz"])
