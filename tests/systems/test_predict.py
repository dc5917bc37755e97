"""Predictions for a NoW folder: layout, frames, failures, and what each system gives."""

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facerecon.data.images import write_image
from facerecon.errors import InputError
from facerecon.evaluate.geometric.now_folder import NowImage, find_prediction, read_prediction
from facerecon.geometry.mesh_files import write_obj
from facerecon.networks.weights import save_weights
from facerecon.preprocess.face import FaceFinder
from facerecon.provenance import read_provenance
from facerecon.systems.amplitude_phase.model import CoefficientNetwork
from facerecon.systems.amplitude_phase.settings import NetworkSettings
from facerecon.systems.predict import predict_now

NAMES = ("a/multiview_neutral/one.jpg", "a/selfie/two.jpg", "b/multiview_neutral/three.jpg")


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory, face_model):
    """Two subjects of the basis, three photographs of noise, the last of which shows no face."""
    folder = tmp_path_factory.mktemp("now")
    (folder / "imagepathsvalidation.txt").write_text("\n".join(NAMES) + "\n")
    release = folder / "NoW_Dataset" / "final_release_version" / "iphone_pictures"
    for number, name in enumerate(NAMES):
        (release / name).parent.mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 200, (240, 200, 3), dtype=np.uint8)
        write_image(release / name, np.full_like(noise, 255) if name.endswith("three.jpg") else noise)
    for number, subject in enumerate("ab"):
        identity = torch.randn(1, 80, generator=torch.Generator().manual_seed(number))
        with torch.no_grad():
            vertices = face_model.decode(identity, torch.zeros(1, 64))
            landmarks = face_model.landmarks(vertices)[0, list(face_model.topology.landmark7_indices)]
        for kind in ("scans", "scans_lmks_onlypp"):
            (folder / kind / subject).mkdir(parents=True)
        write_obj(folder / "scans" / subject / "scan.obj", vertices[0].numpy(), face_model.topology.triangles)
        points = "".join(f'<point x="{x}" y="{y}" z="{z}" name="p"/>' for x, y, z in landmarks.tolist())
        (folder / "scans_lmks_onlypp" / subject / "scan.pp").write_text(f"<PickedPoints>{points}</PickedPoints>")
    return folder


@pytest.fixture
def finder(face_model):
    """Finds the mean face's landmarks in every picture that is not white."""
    mean = face_model.landmarks(face_model.mean[None])[0].numpy()
    points = (mean[:, :2] * [1, -1] + [100, 120]).astype(np.float32)
    found = SimpleNamespace(box=np.float32([40, 40, 160, 200]), score=0.9)
    predicted = SimpleNamespace(points=points, expected_error=np.ones(68), confidence=np.ones(68))
    return FaceFinder(
        lambda image: [] if image.min() > 250 else [found], lambda image, box: predicted, {"detector": "ab12"}
    )


def predictions(out):
    return {name: read_prediction(find_prediction(out, NowImage(*name.split("/")))) for name in NAMES}


def failures(out):
    with open(out / "failures.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_mean_face_for_all(tmp_path, benchmark, face_model):
    predict_now("mean_face", None, benchmark, tmp_path / "out")
    for prediction in predictions(tmp_path / "out").values():
        assert np.allclose(prediction.vertices, face_model.mean.numpy(), atol=1e-3)
        assert np.array_equal(prediction.triangles, face_model.topology.triangles)
        expected = face_model.landmarks(face_model.mean[None])[0, [36, 39, 42, 45, 33, 48, 54]].numpy()
        assert np.allclose(prediction.landmarks, expected, atol=1e-3)
    assert failures(tmp_path / "out") == []
    assert read_provenance(tmp_path / "out")["inputs"] == {"face_model": face_model.sha256}


def test_the_benchmark_is_named_by_its_content(tmp_path, benchmark, face_model):
    named = shutil.copytree(benchmark, tmp_path / "named")
    (named / "content_hash.txt").write_text("12ab\n")
    predict_now("mean_face", None, named, tmp_path / "out")
    assert read_provenance(tmp_path / "out")["inputs"] == {"face_model": face_model.sha256, "benchmark": "12ab"}


def test_oracle_gives_each_subject_its_own_face(tmp_path, benchmark, face_model):
    predict_now("oracle", None, benchmark, tmp_path / "out")
    found = predictions(tmp_path / "out")
    assert np.array_equal(found[NAMES[0]].vertices, found[NAMES[1]].vertices)
    for number, name in ((0, NAMES[0]), (1, NAMES[2])):
        identity = torch.randn(1, 80, generator=torch.Generator().manual_seed(number))
        truth = face_model.decode(identity, torch.zeros(1, 64))[0].numpy()
        near = np.linalg.norm(truth - found[name].landmarks[4], axis=1) < 60
        away = np.linalg.norm((found[name].vertices - truth)[near], axis=1).mean()
        assert away < 0.25 * np.linalg.norm((face_model.mean.numpy() - truth)[near], axis=1).mean()


@pytest.fixture
def weights(tmp_path, face_model):
    """An amplitude_phase network that has learned nothing but an identity."""
    network = CoefficientNetwork(face_model.dimensions, NetworkSettings())
    with torch.no_grad():
        network.heads.bias[:80] = 0.5
        network.heads.bias[80:144] = 2.0
    settings = {"network": NetworkSettings().model_dump()}
    card = {"name": "amplitude_phase", "face_model_sha256": face_model.sha256, "settings": settings}
    save_weights(tmp_path / "model.safetensors", network.state_dict(), card)
    return tmp_path / "model.safetensors"


def test_a_trained_system_gives_neutral_faces_and_records_failures(tmp_path, benchmark, face_model, weights, finder):
    predict_now("amplitude_phase", weights, benchmark, tmp_path / "out", batch_size=2, finder=finder)
    neutral = face_model.decode(torch.full((1, 80), 0.5), torch.zeros(1, 64))[0].numpy()
    for name in NAMES[:2]:
        prediction = read_prediction(find_prediction(tmp_path / "out", NowImage(*name.split("/"))))
        assert np.allclose(prediction.vertices, neutral, atol=1e-2)
    assert [row["image"] for row in failures(tmp_path / "out")] == [NAMES[2]]
    assert "no face was found" in failures(tmp_path / "out")[0]["reason"]
    with pytest.raises(InputError, match="missing"):
        find_prediction(tmp_path / "out", NowImage(*NAMES[2].split("/")))
    assert set(read_provenance(tmp_path / "out")["inputs"]) == {"face_model", "weights", "detector"}


def test_results_do_not_depend_on_the_batch_size(tmp_path, benchmark, weights, finder):
    for size in (1, 3):
        predict_now("amplitude_phase", weights, benchmark, tmp_path / str(size), batch_size=size, finder=finder)
    one, three = (
        read_prediction(find_prediction(tmp_path / str(size), NowImage(*NAMES[1].split("/")))) for size in (1, 3)
    )
    assert np.allclose(one.vertices, three.vertices, atol=1e-3)


def test_without_any_face_nothing_is_left(tmp_path, benchmark, weights):
    blind = FaceFinder(lambda image: [], lambda image, box: None)
    with pytest.raises(InputError, match="none of 3 images could be predicted: .*no face was found"):
        predict_now("amplitude_phase", weights, benchmark, tmp_path / "out", finder=blind)
    assert not (tmp_path / "out").exists()


def test_a_missing_photograph_is_a_failure(tmp_path, benchmark, weights, finder):
    photograph = benchmark / "NoW_Dataset" / "final_release_version" / "iphone_pictures" / NAMES[0]
    hidden = photograph.rename(photograph.with_suffix(".away"))
    try:
        predict_now("amplitude_phase", weights, benchmark, tmp_path / "out", finder=finder)
    finally:
        hidden.rename(photograph)
    assert [row["image"] for row in failures(tmp_path / "out")] == [NAMES[0], NAMES[2]]


def test_bad_names_are_refused(tmp_path, benchmark):
    with pytest.raises(InputError, match="choose from mean_face, oracle, amplitude_phase"):
        predict_now("mean", None, benchmark, tmp_path / "out")
    with pytest.raises(InputError, match="not a NoW benchmark folder"):
        predict_now("mean_face", None, tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="no such weights file"):
        predict_now("amplitude_phase", tmp_path / "none.safetensors", benchmark, tmp_path / "out")
