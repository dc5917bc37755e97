import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from publisher_files import outward_volume, small_face

from facerecon.errors import InputError
from facerecon.morphable.formats.bfm2017 import read

NAMED = {"right.eye.corner_outer": 80, "center.nose.tip": 60, "left.lips.corner": 36, "center.chin.tip": 5}
COMPONENTS = {"shape": 199, "expression": 100, "color": 199}


def write_model(path: Path, parts: tuple[str, ...] = ("shape", "expression", "color")) -> dict[str, np.ndarray]:
    """A statismo file as the University of Basel's, small; returns its arrays by path."""
    rng = np.random.default_rng(0)
    vertices, triangles = small_face(11)
    held = {
        "shape/model/mean": (vertices + [3, 4, 5]).ravel().astype(np.float32),
        "expression/model/mean": rng.normal(0, 1, vertices.size).astype(np.float32),
        "color/model/mean": rng.uniform(0.2, 0.9, vertices.size).astype(np.float32),
    }
    for part, count in COMPONENTS.items():
        held[f"{part}/model/pcaBasis"] = rng.normal(0, 0.05, (vertices.size, count)).astype(np.float32)
        held[f"{part}/model/pcaVariance"] = np.sort(rng.uniform(0.01, 900, count))[::-1].astype(np.float32)
        held[f"{part}/model/noiseVariance"] = np.zeros(1)
        held[f"{part}/representer/cells"] = triangles.T.astype(np.int32)
        held[f"{part}/representer/points"] = vertices.T.astype(np.float32)
    # Named on the reference mesh, of which the mean is another face.
    named = [{"id": name, "coordinates": vertices[vertex].tolist()} for name, vertex in NAMED.items()]
    named += [{"id": "left.eye.corner_outer", "coordinates": [0.0, 0.0, 400.0]}]  # cut away
    with h5py.File(path, "w") as file:
        for name, value in held.items():
            if name.split("/")[0] in parts:
                file[name] = value
        file["metadata/landmarks/json"] = json.dumps(named)
        file["version/majorVersion"], file["version/minorVersion"] = 0, 9
    return held


def test_vertices_are_the_published_sum(tmp_path: Path) -> None:
    held = write_model(tmp_path / "model2017-1_face12_nomouth.h5")
    model = read([tmp_path / "model2017-1_face12_nomouth.h5"])
    assert len(model.identity) == 199 and len(model.expression) == 101 and len(model.albedo) == 199
    assert model.landmark_triangles is None and model.uv is None
    rng = np.random.default_rng(1)
    identity, expression = rng.normal(size=199), rng.normal(size=100)

    def part(name: str, values: np.ndarray) -> np.ndarray:
        deviations = np.sqrt(held[f"{name}/model/pcaVariance"].astype(float))
        total = held[f"{name}/model/mean"] + held[f"{name}/model/pcaBasis"].astype(float) @ (deviations * values)
        return total.reshape(-1, 3)

    shape = part("shape", identity)
    origin = part("shape", np.zeros(199)).mean(0)
    published = np.append(expression, 1.0)  # the last is the mean expression's
    np.testing.assert_allclose(
        model.decode(identity, published), shape + part("expression", expression) - origin, atol=1e-4
    )
    np.testing.assert_allclose(model.decode(identity, np.zeros(101)), shape - origin, atol=1e-4)  # neutral
    moved = np.linalg.norm(held["expression/model/mean"].reshape(-1, 3), axis=1)
    assert "coefficient 101" in model.notes[0]
    assert f"{np.sqrt((moved**2).mean()):.2f} mm root mean square, {moved.max():.2f} mm at most" in model.notes[0]
    assert outward_volume(model.mean, model.triangles) > 0
    display = held["color/model/mean"].reshape(-1, 3).astype(float)
    np.testing.assert_allclose(model.albedo_mean, ((display + 0.055) / 1.055) ** 2.4, atol=1e-6)


def test_landmarks_carried_over_move_the_origin(tmp_path: Path) -> None:
    write_model(tmp_path / "model2019_fullHead.h5")
    model = read([tmp_path / "model2019_fullHead.h5"])
    with pytest.raises(ValueError, match="no landmarks"):
        model.landmarks(model.mean)
    placed = model.with_landmarks(np.arange(68), np.full((68, 3), 1 / 3))
    assert np.abs(placed.landmarks(placed.mean).mean(0)).max() < 1e-5
    np.testing.assert_allclose(placed.mean - placed.mean[0], model.mean - model.mean[0], atol=1e-5)
    for triangles in (np.arange(67), np.full(68, 5000)):
        with pytest.raises(ValueError, match="68 triangles|has triangles"):
            model.with_landmarks(triangles, np.full((68, 3), 1 / 3))


def test_named_landmarks_start_the_registration(tmp_path: Path) -> None:
    """Points that the file names on its reference mesh, by vertex on the mean face; one that is cut away is unknown."""
    held = write_model(tmp_path / "model.h5")
    model = read([tmp_path / "model.h5"])
    mean = held["shape/model/mean"].reshape(-1, 3).astype(float)
    expected = np.full((68, 3), np.nan)
    for name, number in (("right.eye.corner_outer", 36), ("center.nose.tip", 30), ("left.lips.corner", 54)):
        expected[number] = mean[NAMED[name]]
    np.testing.assert_allclose(model.start_landmarks + model.origin, expected, atol=1e-4)
    placed = model.with_landmarks(np.arange(68), np.full((68, 3), 1 / 3))
    np.testing.assert_allclose(placed.start_landmarks + placed.origin, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("named", "refused"),
    [
        ("not json", True),
        ("", True),
        ('{"id": 1}', True),
        ('[{"id": "center.nose.tip"}]', True),
        ('[{"id": "center.nose.tip", "coordinates": [1, 2]}]', True),
        ("[]", False),
        ('[{"id": "center.nose.tip", "coordinates": [NaN, 0, 0]}]', False),
    ],
)
def test_landmarks_of_no_use(tmp_path: Path, named: str, refused: bool) -> None:
    write_model(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        del file["metadata/landmarks/json"]
        if named:
            file["metadata/landmarks/json"] = named
        else:
            file.create_group("metadata/landmarks/json")
    if refused:
        with pytest.raises(InputError, match=r"model\.h5: metadata/landmarks/json is not a list"):
            read([tmp_path / "model.h5"])
    else:
        assert read([tmp_path / "model.h5"]).start_landmarks is None


@pytest.mark.parametrize("flipped", [False, True])
def test_chart_of_the_texture_mapping(tmp_path: Path, flipped: bool) -> None:
    path, chart = tmp_path / "model2019_fullHead.h5", tmp_path / "model2019_textureMapping.json"
    held = write_model(path)
    cells = held["shape/representer/cells"].T
    if flipped:
        cells = cells[:, [0, 2, 1]]
        with h5py.File(path, "a") as file:
            file["shape/representer/cells"][...] = cells.T
    rng = np.random.default_rng(3)
    uv = rng.random((121 + 7, 2))
    places = cells.copy()
    places[:7, 0] = np.arange(121, 128)  # corners of a seam
    mapping = {"pointData": uv.tolist(), "triangles": places.tolist()}
    chart.write_text(json.dumps({"triangles": cells.tolist(), "textureMapping": mapping}))
    model = read([chart, path])
    assert set(model.sources) == {path.name, chart.name}
    corners = cells[:, [0, 2, 1]] if flipped else cells
    expected = uv[places[:, [0, 2, 1]] if flipped else places]
    np.testing.assert_allclose(model.uv[model.triangles], expected, atol=1e-6)
    np.testing.assert_array_equal(model.mean[model.triangles], read([path]).mean[corners])
    for content, match in (
        ("[]", "no triangles and textureMapping"),
        ("{", "no triangles and textureMapping"),
        (json.dumps({"triangles": cells[1:].tolist(), "textureMapping": mapping}), "not the model's"),
        (json.dumps({"triangles": cells.tolist(), "textureMapping": mapping | {"pointData": [[3, 0]]}}), "outside"),
        (json.dumps({"triangles": cells.tolist(), "textureMapping": mapping | {"pointData": [[0, 0]]}}), "an index"),
    ):
        chart.write_text(content)
        with pytest.raises(InputError, match=rf"model2019_textureMapping\.json: .*{match}"):
            read([chart, path])


def test_model_of_shape_alone(tmp_path: Path) -> None:
    write_model(tmp_path / "model.h5", ("shape",))
    model = read([tmp_path / "model.h5"])
    assert model.expression.shape == (0, 121, 3) and model.albedo is None


def test_wrong_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model2019_bfm.h5"
    write_model(path)
    with pytest.raises(InputError, match="one file"):
        read([path, path])
    good = path.read_bytes()
    for content, match in ((good[:3000], "not an HDF5 file"), (b"x" * 900, "not an HDF5 file")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"model2019_bfm\.h5: {match}"):
            read([path])
    for name, value, match in (
        ("shape/model/pcaBasis", np.zeros((362, 199)), "pcaBasis has shape"),
        ("shape/model/pcaVariance", -np.ones(199), "negative"),
        ("color/model/mean", np.zeros(30), "color is of 10 vertices"),
        ("expression/model/pcaVariance", None, "holds no expression/model/pcaVariance"),
        ("shape/representer/cells", np.full((3, 4), 121), "outside 0 to 120"),
        ("shape/model/mean", np.zeros((2, 6)), "in one row"),
        ("shape/model/mean", np.array([b"text"]), "no numbers"),
    ):
        path.write_bytes(good)
        with h5py.File(path, "a") as file:
            del file[name]
            if value is not None:
                file[name] = value
        with pytest.raises(InputError, match=match) as caught:
            read([path])
        assert "\n" not in str(caught.value)
