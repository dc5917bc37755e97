"""`reconstruct_photos`: files, errors, names; with networks that know the answers."""

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from portraits import KnowingNetworks, render_portrait

from facerecon.artefacts import sha256_file
from facerecon.data.images import encode_jpeg, read_image, write_image
from facerecon.errors import InputError
from facerecon.morphable.storage import load_face_model
from facerecon.networks.weights import carried_weights
from facerecon.preprocess.landmark_fit import LandmarkBasis
from facerecon.provenance import read_provenance
from facerecon.reconstruct import folder_names, reconstruct_photos
from facerecon.reconstruction.face import Reconstructor

FILES = [
    "albedo.png", "mesh.glb", "mesh.mtl", "mesh.obj", "overlay.png", "provenance.json", "reconstruction.npz",
    "texture.png",
]  # fmt: skip


@pytest.fixture(scope="module")
def networks():
    model = load_face_model(level=1)
    return KnowingNetworks(model, [render_portrait(model, seed, yaw) for seed, yaw in ((1, 0.2), (2, -0.5))])


@pytest.fixture(scope="module")
def reconstructor(networks):
    basis = LandmarkBasis.of(networks.model)
    return Reconstructor(networks.model, basis, networks.finder, networks.regress, networks.parse)


@pytest.fixture(scope="module")
def made(tmp_path_factory, networks, reconstructor):
    """One portrait and its reconstruction's folder."""
    folder = tmp_path_factory.mktemp("made")
    write_image(folder / "anna.png", networks.portraits[0].image)
    failures = reconstruct_photos([folder / "anna.png"], folder / "out", texture_size=128, reconstructor=reconstructor)
    assert failures == []
    return networks.portraits[0], folder / "out" / "anna"


def test_all_files_are_written(made):
    _, folder = made
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["anna"]


def test_the_numbers_are_the_portraits(made, networks):
    portrait, folder = made
    with np.load(folder / "reconstruction.npz") as arrays:
        found = dict(arrays)
    truth = networks.model.decode(portrait.parameters.identity, portrait.parameters.expression)[0].numpy()
    assert np.sqrt(((found["vertices"] - truth) ** 2).sum(-1).mean()) < 1.0
    assert np.abs(found["landmarks_3d"][:, :2] - portrait.landmarks).max() < 1.0
    assert np.array_equal(found["landmarks_2d"], portrait.landmarks)
    assert found["rotation"] == pytest.approx(portrait.parameters.rotation[0].numpy(), abs=0.03)
    assert {"uv", "triangles", "identity", "expression", "albedo", "light", "translation", "box"} < set(found)


def test_camera_and_pose_put_the_vertices_on_the_landmarks(made, networks):
    _, folder = made
    with np.load(folder / "reconstruction.npz") as arrays:
        found = dict(arrays)
    pitch, yaw, roll = found["rotation"].astype(float)
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    topology = networks.model.topology
    corners = found["vertices"][topology.landmark_vertices]
    points = (corners * topology.landmark_barycentric[..., None]).sum(1)
    camera = points @ (about_z @ about_x @ about_y).T * (1, -1, -1) + found["translation"]
    pixels = found["focal"] * camera[:, :2] / camera[:, 2:] + found["centre"]
    assert np.abs(pixels - found["landmarks_3d"][:, :2]).max() < 0.05


def test_meshes_open_elsewhere_with_their_texture(made, networks):
    _, folder = made
    faces = len(networks.model.topology.triangles)
    mesh = trimesh.load(folder / "mesh.obj", process=False)
    assert len(mesh.faces) == faces and mesh.visual.uv is not None and 100 < mesh.extents[1] < 260
    scene = trimesh.load(folder / "mesh.glb", process=False)
    glb = next(iter(scene.geometry.values()))
    assert len(glb.faces) == faces and glb.extents[1] == pytest.approx(mesh.extents[1] / 1000, rel=1e-4)
    assert glb.visual.material.baseColorTexture.size == (128, 128)
    assert read_image(folder / "texture.png").shape == read_image(folder / "albedo.png").shape == (128, 128, 3)


def test_the_overlay_lies_on_the_face(made):
    portrait, folder = made
    overlay = read_image(folder / "overlay.png")
    changed = np.abs(overlay.astype(int) - portrait.image).max(-1) > 12
    assert overlay.shape == portrait.image.shape
    assert (changed & portrait.mask).sum() / (changed | portrait.mask).sum() > 0.9


def test_refinement_mends_a_wrong_pose(networks, reconstructor):
    portrait = networks.portraits[0]

    def wrong(crop):
        right = networks.regress(crop)
        return right._replace(rotation=right.rotation + 0.15, translation=right.translation + 8.0)

    tools = Reconstructor(networks.model, reconstructor.basis, networks.finder, wrong, networks.parse)
    errors = []
    for refine in (False, True):
        found = tools.reconstruct(portrait.image, texture_size=64, refine=refine)
        errors.append(np.linalg.norm(found.landmarks_3d[:, :2] - portrait.landmarks, axis=1).mean())
    assert errors[1] < 1.0 < 5.0 < errors[0]


def write_bad_files(folder, networks) -> dict[str, str]:
    """Everything that is no portrait: path -> what its error must say."""
    rng = np.random.default_rng(0)
    write_image(folder / "sky.png", np.full((90, 120, 3), 180, np.uint8))
    write_image(folder / "noise.png", rng.integers(0, 256, (90, 120, 3), np.uint8))
    jpeg = encode_jpeg(networks.portraits[0].image)
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "letter.txt").write_text("Dear reader,\nthis is no photograph.\n")
    (folder / "album").mkdir()
    return {
        str(folder / "sky.png"): "no face was found; if there is one, give its box with --box",
        str(folder / "noise.png"): "no face was found",
        str(folder / "cut.jpg"): "truncated",
        str(folder / "empty.jpg"): "empty",
        str(folder / "letter.txt"): "not an image",
        str(folder / "album"): "folder",
        str(folder / "gone.jpg"): "no such file",
    }


def test_each_bad_photograph_is_one_line_and_leaves_nothing(tmp_path, networks, reconstructor, capfd):
    expected = write_bad_files(tmp_path, networks)
    write_image(tmp_path / "bert.png", networks.portraits[1].image)
    paths = [*list(expected)[:3], tmp_path / "bert.png", *list(expected)[3:]]
    failures = reconstruct_photos(paths, tmp_path / "out", texture_size=64, reconstructor=reconstructor)
    output = capfd.readouterr()
    lines = output.err.splitlines()
    assert len(lines) == len(failures) == len(expected)
    for line, (path, reason) in zip(lines, expected.items(), strict=True):
        assert path in line and reason in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bert"]
    assert output.out.splitlines() == [f"{tmp_path / 'bert.png'} -> {tmp_path / 'out' / 'bert'}"]


def test_only_bad_photographs_make_no_folder(tmp_path, networks, reconstructor):
    expected = write_bad_files(tmp_path, networks)
    assert len(reconstruct_photos(list(expected), tmp_path / "out", reconstructor=reconstructor)) == len(expected)
    assert not (tmp_path / "out").exists()


def test_several_faces_are_mentioned(tmp_path, networks, reconstructor, capfd):
    write_image(tmp_path / "two.png", networks.portraits[0].image)
    networks.boxes.append(SimpleNamespace(box=np.array([0, 0, 9, 9.0]), score=0.5))
    reconstruct_photos([tmp_path / "two.png"], tmp_path / "out", texture_size=64, reconstructor=reconstructor)
    networks.boxes.clear()
    assert "2 faces were found" in capfd.readouterr().out


def test_photographs_of_one_name_get_folders_of_their_own(tmp_path, networks, reconstructor):
    for folder, portrait in zip("ab", networks.portraits, strict=True):
        write_image(tmp_path / folder / "me.png", portrait.image)
    paths = [tmp_path / "a" / "me.png", tmp_path / "b" / "me.png"]
    assert reconstruct_photos(paths, tmp_path / "out", texture_size=64, reconstructor=reconstructor) == []
    found = [np.load(tmp_path / "out" / name / "reconstruction.npz")["landmarks_2d"] for name in ("me", "me_2")]
    assert all(np.array_equal(a, p.landmarks) for a, p in zip(found, networks.portraits, strict=True))


def test_folder_names_never_meet():
    assert folder_names(["a/x.jpg", "b/x.png", "x_2.jpg", "c/x.jpg", "y.jpg"]) == ["x", "x_3", "x_2", "x_4", "y"]
    assert folder_names(["x_2.jpg", "x.jpg", "x.png"]) == ["x_2", "x", "x_3"]


def test_a_box_is_for_one_photograph(tmp_path, networks, reconstructor):
    write_image(tmp_path / "a.png", networks.portraits[0].image)
    with pytest.raises(InputError, match="one photograph"):
        reconstruct_photos([tmp_path / "a.png"] * 2, tmp_path / "o", box=(1, 2, 3, 4), reconstructor=reconstructor)
    far = (900, 2, 30, 40)
    failures = reconstruct_photos([tmp_path / "a.png"], tmp_path / "o", box=far, reconstructor=reconstructor)
    assert "outside" in failures[0] and not (tmp_path / "o").exists()
    points = networks.portraits[0].landmarks
    box = (*points.min(0), *np.ptp(points, axis=0))
    assert reconstruct_photos([tmp_path / "a.png"], tmp_path / "o", box=box, reconstructor=reconstructor) == []


def test_an_unusable_output_is_refused(tmp_path, networks, reconstructor):
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="out: is a file"):
        reconstruct_photos([tmp_path / "a.png"], tmp_path / "out", reconstructor=reconstructor)
    with pytest.raises(InputError, match="no photographs"):
        reconstruct_photos([], tmp_path / "o", reconstructor=reconstructor)


def test_only_own_folders_are_replaced(tmp_path, networks, reconstructor):
    (tmp_path / "anna").mkdir()
    write_image(tmp_path / "anna" / "anna.png", networks.portraits[0].image)
    before = (tmp_path / "anna" / "anna.png").read_bytes()
    with pytest.raises(InputError, match="anna: exists and was not written by facerecon; choose another --out"):
        reconstruct_photos([tmp_path / "anna" / "anna.png"], tmp_path, reconstructor=reconstructor)
    assert (tmp_path / "anna" / "anna.png").read_bytes() == before
    for size in (64, 96):
        paths = [tmp_path / "anna" / "anna.png"]
        assert reconstruct_photos(paths, tmp_path / "out", texture_size=size, reconstructor=reconstructor) == []
        assert read_image(tmp_path / "out" / "anna" / "texture.png").shape[0] == size
    write_image(tmp_path / "out" / "anna" / "overlay.png", networks.portraits[0].image)
    with pytest.raises(InputError, match="would be replaced"):
        reconstruct_photos([tmp_path / "out" / "anna" / "anna.png"], tmp_path / "out", reconstructor=reconstructor)


def test_the_record_names_photograph_model_and_weights(tmp_path, networks, reconstructor):
    write_image(tmp_path / "anna.png", networks.portraits[0].image)
    tools = replace(reconstructor, sha256={"amplitude_phase": "12ab"})
    reconstruct_photos([tmp_path / "anna.png"], tmp_path / "out", texture_size=64, reconstructor=tools)
    record = read_provenance(tmp_path / "out" / "anna")
    photograph = hashlib.sha256((tmp_path / "anna.png").read_bytes()).hexdigest()
    assert record["inputs"] == {
        "photograph": photograph, "face_model": networks.model.sha256, "amplitude_phase": "12ab",
    }  # fmt: skip
    with np.load(tmp_path / "out" / "anna" / "reconstruction.npz") as arrays:
        assert json.loads(str(arrays["provenance"])) == record


def test_what_is_loaded_is_recorded_and_what_is_put_in_is_not(networks):
    loaded = Reconstructor.load(level=1, finder=networks.finder, regress=networks.regress).sha256
    assert loaded == {"parsing": sha256_file(carried_weights("parsing"))}
