from pathlib import Path

import numpy as np
import pytest
from publisher_files import outward_volume, small_face

from facerecon.errors import InputError
from facerecon.morphable.formats.facescape import COLOUR_SPREAD, read

FACTORS = 50


def write_model(path: Path) -> dict:
    """A FaceScape 1.6 file, small: the face is 121 of 140 vertices."""
    rng = np.random.default_rng(0)
    vertices, triangles = small_face()
    count = 140
    front = np.sort(rng.choice(count, len(vertices), replace=False))
    id_mean = rng.normal(0, 0.02, FACTORS)
    neutral = rng.normal(0, 40, (count, 3))
    neutral[front] = vertices + [0, 0, -30]
    core = rng.normal(0, 5, (count, 3, 52, FACTORS))
    core *= np.where(np.arange(52) == 0, 1, 0.2)[:, None]
    # Make the first expression of the mean identity the neutral face.
    core[:, :, 0] += (neutral - core[:, :, 0] @ id_mean)[..., None] * id_mean / (id_mean @ id_mean)
    core[:, :, 1:] += core[:, :, :1]  # the file holds whole faces
    corners = triangles + 1
    uv = rng.random((count + 5, 2))
    places = front[triangles].copy()
    places[30:34, 0] = [count, count + 1, count + 2, count + 3]
    colour = np.where(np.arange(len(vertices)) % 9 == 0, -1, np.arange(len(vertices)) % 100)
    held = {
        "shape_bm_core": core.reshape(3 * count, 52, FACTORS).astype(np.float32),
        "color_bm_core": rng.normal(0, 0.1, (300, 100)),
        "color_bm_mean": rng.uniform(60, 200, 300),
        "fv_indices": np.ones((5, 3), np.int64),
        "ft_indices": np.ones((5, 3), np.int64),
        "fv_indices_front": corners[:, [0, 2, 1]],
        "ft_indices_front": places[:, [0, 2, 1]] + 1,
        "vc_dict_front": colour,
        "v_indices_front": front,
        "texcoords": uv,
        "lm_list_v16": rng.permutation(front)[:68],
        "id_mean": id_mean,
        "id_var": rng.uniform(1e-4, 1e-3, FACTORS),
        "vert_num": np.array(count),
        "sym_dict": np.array({1: 2, 3: 4}),
        "contour_line_left": np.array([[1, 2], [3, 4, 5]], dtype=object),
    }
    np.savez(path, **held)
    return held


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_vertices_are_the_published_product(tmp_path: Path, scale: float) -> None:
    """Whatever the size of expressions: the neutral face is taken off the others, as the publisher's program does."""
    path = tmp_path / "facescape_bm_v1.6_847_50_52_id_front.npz"
    held = write_model(path)
    neutral = held["shape_bm_core"][:, :1]
    held["shape_bm_core"] = scale * (held["shape_bm_core"] - neutral) + neutral
    np.savez(path, **held)
    model = read([path])
    assert len(model.identity) == FACTORS and len(model.expression) == 51
    rng = np.random.default_rng(1)
    core = held["shape_bm_core"].astype(float)
    core[:, 1:] -= core[:, :1]

    def face(identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
        weights = np.concatenate([[1], expression])
        factors = held["id_mean"] + np.sqrt(held["id_var"]) * identity
        return core.dot(factors).dot(weights).reshape(-1, 3)

    origin = face(np.zeros(FACTORS), np.zeros(51))[held["lm_list_v16"]].mean(0)
    identity, expression = rng.normal(size=FACTORS), rng.uniform(0, 0.5, 51)
    expected = face(identity, expression)
    found = model.decode(identity, expression)[: len(held["v_indices_front"])]
    np.testing.assert_allclose(found, expected[held["v_indices_front"]] - origin, atol=1e-4)
    landmarks = model.landmarks(model.decode(identity, expression))
    np.testing.assert_allclose(landmarks, expected[held["lm_list_v16"]] - origin, atol=1e-4)
    assert outward_volume(model.mean, model.triangles) > 0


def test_chart_and_colours(tmp_path: Path) -> None:
    path = tmp_path / "facescape_bm_v1.6_847_50_52_id.npz"
    held = write_model(path)
    model = read([path])
    assert len(model.seam_copies) == 4
    places = held["ft_indices_front"][:, [0, 2, 1]] - 1
    np.testing.assert_allclose(model.uv[model.triangles], held["texcoords"][places], atol=1e-6)
    display = held["color_bm_mean"].reshape(-1, 3)[:, ::-1] / 255
    for vertex, colour in enumerate(held["vc_dict_front"][:60]):
        expected = 0 if colour < 0 else ((display[colour] + 0.055) / 1.055) ** 2.4
        np.testing.assert_allclose(model.albedo_mean[vertex], expected, atol=1e-6)
    slope = 2.4 / 1.055 * ((display[1] + 0.055) / 1.055) ** 1.4
    step = held["color_bm_core"].reshape(-1, 3, 100)[1, ::-1, 7] / 255 * COLOUR_SPREAD
    np.testing.assert_allclose(model.albedo[7, 1], step * slope, atol=1e-6)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    held = write_model(path)
    for change, match in (
        ({"shape_bm_core": held["shape_bm_core"][:, :50]}, "id_exp, whose 50 expressions"),
        ({"shape_bm_core": held["shape_bm_core"][:-1]}, "rows"),
        ({"id_var": held["id_var"][:-1]}, "not of the core's 50 factors"),
        ({"id_mean": None}, "id_mean"),
        ({"v_indices_front": held["v_indices_front"] + 50}, "v_indices_front has an index"),
        ({"lm_list_v16": held["lm_list_v16"][:60]}, "not 68 vertices"),
        ({"texcoords": held["texcoords"] * 2}, "outside"),
    ):
        content = {name: value for name, value in (held | change).items() if value is not None}
        np.savez(path, **content)
        with pytest.raises(InputError, match=match) as caught:
            read([path])
        assert "\n" not in str(caught.value) and "model.npz" in str(caught.value)
    named = tmp_path / "facescape_bm_v1.6_847_50_52_id_exp.npz"
    np.savez(named, **held)
    with pytest.raises(InputError, match="the variant id_exp"):
        read([named])
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"model\.npz: not an \.npz"):
        read([path])
