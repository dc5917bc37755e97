"""Losses and task of amplitude_phase: zero where they must be, weighted as set, and learning."""

import csv
import hashlib
import json

import pytest
import torch

from facerecon.data.parsing_labels import PARSING_CLASSES
from facerecon.errors import InputError
from facerecon.morphable.parameters import FaceParameters
from facerecon.networks.recognition import RecognitionNetwork, recognition_crop
from facerecon.networks.weights import save_weights
from facerecon.systems.amplitude_phase.model import FaceDecoder, load_system
from facerecon.systems.amplitude_phase.settings import LossWeights, RegionWeights, Settings
from facerecon.systems.amplitude_phase.training import FaceLosses, fit_distance, make_task, region_weights, shard_files
from facerecon.training.run import run_training

NO_IDENTITY = {"identity": 0.0}
QUICK = {"steps": 3, "batch_size": 2, "threads": 1, "log_every": 1}


@pytest.fixture(scope="module")
def recognition():
    torch.manual_seed(0)
    return RecognitionNetwork(width=8).eval().requires_grad_(False)


@pytest.fixture
def batch(draw, render, recognition):
    """Renders as photographs, with what a perfect preprocessing finds in them, and the truth."""
    truth = draw(2, seed=3)
    image, mask, landmarks = render(truth, 112)
    with torch.no_grad():
        feature = recognition.embed(recognition_crop(image))
    fit = {name: getattr(truth, name) for name in ("identity", "expression", "rotation", "translation")}
    face = mask.float()
    return truth, {
        "image": image,
        "face": face,
        "region_weight": face,
        "landmarks": landmarks,
        "confidence": torch.ones(2, 68),
        "feature": feature,
        **fit,
    }


def losses(face_model, recognition=None, **settings):
    return FaceLosses(Settings(**settings), FaceDecoder(face_model, 112), recognition)


def test_a_perfect_prediction_costs_its_regularisation_only(face_model, recognition, batch):
    truth, photographs = batch
    total, terms = losses(face_model, recognition)(truth, photographs, 0)
    regularisation = terms.pop("regularisation")
    assert terms.pop("objective") == total
    assert terms.keys() == {"photometric", "landmark", "frequency", "amplitude", "phase", "identity", "fit"}
    assert all(value.abs() < 2e-5 for value in terms.values()), terms
    assert total.item() == pytest.approx(4e-4 * regularisation.item(), abs=1e-5)


def test_the_total_is_the_weighted_sum(face_model, recognition, batch, draw):
    _, photographs = batch
    own = losses(face_model, recognition, weights={"frequency": 0.7, "fit": 0.5}, fit_steps=10)
    total, terms = own(draw(2, seed=9), photographs, 4)
    expected = (
        3.0 * terms["photometric"]
        + 2.4e-3 * terms["landmark"]
        + 0.24 * terms["identity"]
        + 4e-4 * terms["regularisation"]
        + 0.7 * terms["frequency"]
        + 0.5 * 0.6 * terms["fit"]
    )
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["objective"].item() == pytest.approx((expected - 0.3 * terms["fit"]).item(), rel=1e-5)
    assert terms["frequency"].item() == pytest.approx(0.5 * (terms["amplitude"] + terms["phase"]).item(), rel=1e-5)


def test_a_weight_of_zero_leaves_a_term_out(face_model, batch):
    truth, photographs = batch
    weights = {"photometric": 0, "frequency": 0, "identity": 0, "fit": 0}
    _, terms = losses(face_model, weights=weights)(truth, photographs, 0)
    assert terms.keys() == {"objective", "landmark", "regularisation"}


def test_the_warm_up_term_fades(face_model):
    own = losses(face_model, fit_steps=100, weights={"fit": 2.0})
    assert [own.fit_weight(step) for step in (0, 50, 100, 500)] == [2.0, 1.0, 0.0, 0.0]
    assert losses(face_model, fit_steps=0).fit_weight(0) == 0


def test_regularisation_as_printed_and_as_deng(face_model, draw):
    coefficients = draw(1)
    squares = {name: values.square().sum().item() for name, values in coefficients._asdict().items()}
    printed, deng = losses(face_model), losses(face_model, regularisation="deng")
    assert printed.regularisation_term(coefficients).item() == pytest.approx(
        1e-4 * squares["identity"] + 0.8e-4 * squares["expression"] + 0.1 * squares["albedo"] + 0.01 * squares["light"]
    )
    assert deng.regularisation_term(coefficients).item() == pytest.approx(
        squares["identity"] + 0.8 * squares["expression"] + 1.7e-2 * squares["albedo"]
    )
    assert (printed.regularisation_weight(), deng.regularisation_weight()) == (4e-4, 3e-4)
    assert losses(face_model, weights={"regularisation": 0.5}).regularisation_weight() == 0.5


def test_hidden_faces_count_for_nothing(face_model, batch, draw):
    _, photographs = batch
    hidden = {**photographs, "face": torch.zeros(2, 112, 112), "confidence": torch.zeros(2, 68)}
    coefficients = FaceParameters(*(values.requires_grad_() for values in draw(2, seed=8)))
    total, terms = losses(face_model, weights={"fit": 0, **NO_IDENTITY})(coefficients, hidden, 0)
    assert terms["photometric"] == terms["landmark"] == terms["frequency"] == 0
    total.backward()
    assert all(values.grad is None or torch.isfinite(values.grad).all() for values in coefficients)


def test_a_black_photograph_gives_finite_gradients(face_model, recognition, batch, draw):
    _, photographs = batch
    black = {**photographs, "image": torch.zeros(2, 3, 112, 112)}
    coefficients = FaceParameters(*(values.requires_grad_() for values in draw(2, seed=8)))
    losses(face_model, recognition)(coefficients, black, 0)[0].backward()
    assert all(torch.isfinite(values.grad).all() for values in coefficients)


def test_fit_distance_by_hand(batch):
    truth, photographs = batch
    moved = truth._replace(
        rotation=truth.rotation + 0.2, translation=truth.translation + torch.tensor([0.0, 20.0, 80.0])
    )
    assert fit_distance(truth, photographs) == 0
    assert fit_distance(moved, photographs).item() == pytest.approx(4 + (0 + 4 + 4) / 3, rel=1e-3)


@pytest.mark.parametrize("amplitude, phase", [("modulus", "atan2"), ("printed", "printed")])
def test_descending_the_losses_recovers_the_face(face_model, recognition, batch, amplitude, phase):
    truth, photographs = batch
    start = [0.5 * truth.identity, 0.5 * truth.expression, 0.5 * truth.albedo, truth.rotation + 0.05]
    start += [truth.translation + torch.tensor([3.0, -3.0, 5.0]), 0.9 * truth.light]
    coefficients = FaceParameters(*(values.clone().requires_grad_() for values in start))
    own = losses(face_model, recognition, amplitude=amplitude, phase=phase, weights={"fit": 0})
    groups = [
        {"params": [value], "lr": rate}
        for value, rate in zip(coefficients, (0.05, 0.05, 0.05, 5e-3, 0.5, 0.02), strict=True)
    ]
    optimizer = torch.optim.Adam(groups)
    history = []
    for step in range(40):
        total, terms = own(coefficients, photographs, step)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append({name: value.item() for name, value in terms.items()})
    assert history[-1]["photometric"] < 0.5 * history[0]["photometric"]
    assert history[-1]["landmark"] < 0.5 * history[0]["landmark"]
    assert history[-1]["frequency"] < history[0]["frequency"] and history[-1]["identity"] < history[0]["identity"]
    assert (coefficients.rotation - truth.rotation).abs().mean() < 0.03


def test_region_weights_of_the_paper():
    weights = {PARSING_CLASSES[label]: weight for label, weight in region_weights(RegionWeights()).items()}
    assert weights == {
        "skin": 1.0,
        "l_brow": 1.0,
        "r_brow": 1.0,
        "l_eye": 1.5,
        "r_eye": 1.5,
        "nose": 1.5,
        "mouth": 1.2,
        "u_lip": 1.2,
        "l_lip": 1.2,
    }


def test_the_paper_s_weights_are_the_defaults():
    weights = LossWeights()
    assert (weights.photometric, weights.landmark, weights.identity) == (3.0, 2.4e-3, 0.24)


def test_shard_files_of_folders(tmp_path, shard):
    assert shard_files([shard.parent]) == shard_files([shard]) == [shard]
    with pytest.raises(InputError, match=r"holds no shard\*\.h5"):
        shard_files([tmp_path])


def test_training_from_shards_to_a_system(tmp_path, shard, face_model):
    settings = {"training": QUICK, "task": {"weights": NO_IDENTITY, "fit_steps": 2}}
    result = run_training("amplitude_phase", settings, [shard], tmp_path)
    assert result.finished and result.step == 3 and result.measured["landmark_pixels"] > 0
    with open(tmp_path / "metrics.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert float(rows[0]["fit"]) > 0 and float(rows[0]["photometric"]) > 0 and rows[2]["validation_photometric"]
    assert (tmp_path / "samples" / "validation.jpg").stat().st_size > 1000
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["face_model_sha256"] == face_model.sha256 and card["photographs"] == 4
    assert card["provenance"]["stage"] == "training.amplitude_phase"
    system, _ = load_system(tmp_path / "model.safetensors", face_model)
    assert system.predict(torch.rand(1, 3, 224, 224)).identity.shape == (1, 80)


def test_the_renderer_is_the_one_that_the_settings_name(tmp_path, shard, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    task = {"weights": NO_IDENTITY, "validation_photographs": 0}
    run_training("amplitude_phase", {"training": QUICK, "task": {**task, "renderer": "cpu"}}, [shard], tmp_path / "cpu")
    run_training("amplitude_phase", {"training": QUICK, "task": task}, [shard], tmp_path / "auto")
    auto, cpu = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("auto", "cpu"))
    assert auto == cpu
    with pytest.raises(InputError, match="renderer 'triton'"):
        run_training("amplitude_phase", {"training": QUICK, "task": {**task, "renderer": "triton"}}, [shard], tmp_path)
    assert not (tmp_path / "metrics.csv").exists()


def test_another_device_gets_a_copy_of_the_face_model(face_model):
    decoder = FaceDecoder(face_model, 112)
    decoder.to(torch.device("meta"))
    assert decoder.face_model.mean.device == decoder.triangles.device == torch.device("meta")
    assert decoder.face_model.sha256 == face_model.sha256 and face_model.mean.device == torch.device("cpu")


def test_interrupted_training_ends_in_the_same_bits(tmp_path, shard):
    settings = {"training": QUICK, "task": {"weights": NO_IDENTITY}}
    run_training("amplitude_phase", settings, [shard], tmp_path / "whole")
    for _ in range(3):
        run_training("amplitude_phase", settings, [shard], tmp_path / "pieces", max_seconds_per_call=1e-6)
    for name in ("model.safetensors", "metrics.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "pieces" / name).read_bytes()


def test_the_identity_term_uses_the_recognition_weights_given(tmp_path, shard, new_shard, recognition):
    weights = tmp_path / "recognition.safetensors"
    save_weights(weights, recognition.state_dict(), {"name": "recognition", "network": {"width": 8}})
    task = make_task({"recognition": str(weights)}, [shard], seed=0, batch_size=2)
    assert task.losses.recognition is not None and "recognition" in task.card()["data_sha256"]
    new_shard(tmp_path / "shard-1.h5", recognition_sha256="0" * 64)
    with pytest.raises(InputError, match=r"shard-1\.h5: its features are of another recognition network"):
        make_task({"recognition": str(weights)}, [tmp_path / "shard-1.h5"], seed=0, batch_size=2)


def test_shards_that_cannot_be_used_are_named(tmp_path, new_shard, face_model):
    path = tmp_path / "shard-0.h5"
    new_shard(path, validation=0)
    task = {"weights": NO_IDENTITY}
    with pytest.raises(InputError, match="set validation_photographs to 0"):
        make_task(task, [path], seed=0, batch_size=2)
    unvalidated = make_task({**task, "validation_photographs": 0}, [path], seed=0, batch_size=2)
    assert unvalidated.validate(unvalidated.build_model()) == {}


def test_shards_of_another_face_model_are_refused(tmp_path, new_shard, face_model, monkeypatch):
    monkeypatch.setattr(face_model, "sha256", "0" * 64)
    new_shard(tmp_path / "shard-0.h5")
    with pytest.raises(InputError, match="another face model"):
        make_task({"weights": NO_IDENTITY}, [tmp_path / "shard-0.h5"], seed=0, batch_size=2)


def test_carried_initial_weights_are_those_of_the_small_network():
    with pytest.raises(ValueError, match="no initial weights of a resnet50 are carried"):
        Settings(network={"backbone": "resnet50"}, initial_weights="carried")
    assert Settings(network={"backbone": "resnet50"}).initial_weights is None


def test_the_card_names_the_content_of_the_weights_it_starts_from(tmp_path, shard):
    task = {"weights": NO_IDENTITY, "validation_photographs": 0, "initial_weights": str(tmp_path / "start.safetensors")}
    with pytest.raises(InputError, match=r"start\.safetensors: no such weights file"):
        make_task(task, [shard], seed=0, batch_size=2)
    digests = []
    for content in (b"one", b"two"):
        (tmp_path / "start.safetensors").write_bytes(content)
        digests.append(make_task(task, [shard], seed=0, batch_size=2).card()["data_sha256"]["initial_weights"])
    assert digests == [hashlib.sha256(content).hexdigest() for content in (b"one", b"two")]
