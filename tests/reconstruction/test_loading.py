"""Weights files become the plain functions that reconstruction and preprocessing call."""

import numpy as np
import pytest
import torch

from facerecon.errors import InputError
from facerecon.morphable.storage import load_face_model
from facerecon.networks.parsing import ParsingNetwork
from facerecon.networks.recognition import RecognitionNetwork
from facerecon.networks.weights import save_weights
from facerecon.preprocess.parsing import load_parser
from facerecon.preprocess.shard import load_embedder
from facerecon.reconstruction.face import load_regressor
from facerecon.systems.amplitude_phase.model import CoefficientNetwork
from facerecon.systems.amplitude_phase.settings import NetworkSettings

CROP = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)


def test_an_untrained_regressor_gives_the_mean_face_in_front_of_the_camera(tmp_path):
    model, settings = load_face_model(level=1), NetworkSettings()
    network = CoefficientNetwork(model.dimensions, settings)
    card = {
        "name": "amplitude_phase",
        "face_model_sha256": model.sha256,
        "settings": {"network": settings.model_dump()},
    }
    save_weights(tmp_path / "a.safetensors", network.state_dict(), card)
    found = load_regressor(tmp_path / "a.safetensors", model)(CROP)
    assert [part.shape for part in found[:3]] == [(1, 80), (1, 64), (1, 80)]
    assert found.translation.tolist() == [[0.0, 0.0, 1000.0]] and not found.rotation.any() and not found.identity.any()
    assert found.light.shape == (1, 9, 1) and found.light[0, 0, 0] > 0
    save_weights(tmp_path / "b.safetensors", network.state_dict(), {**card, "face_model_sha256": "0" * 64})
    with pytest.raises(InputError, match="face model"):
        load_regressor(tmp_path / "b.safetensors", model)


def test_weights_for_another_camera_are_refused(tmp_path):
    model, settings = load_face_model(level=1), NetworkSettings(camera="scaled_orthographic")
    card = {
        "name": "amplitude_phase",
        "face_model_sha256": model.sha256,
        "settings": {"network": settings.model_dump()},
    }
    save_weights(tmp_path / "a.safetensors", CoefficientNetwork(model.dimensions, settings).state_dict(), card)
    with pytest.raises(InputError, match=r"a\.safetensors: trained with camera scaled_orthographic"):
        load_regressor(tmp_path / "a.safetensors", model)


def test_a_parser_gives_a_class_a_pixel(tmp_path):
    torch.manual_seed(0)
    arguments = {"size": 96, "width": 8}
    card = {"name": "parsing", "network": arguments}
    save_weights(tmp_path / "p.safetensors", ParsingNetwork(**arguments).state_dict(), card)
    labels = load_parser(tmp_path / "p.safetensors")(CROP)
    assert labels.shape == (224, 224) and labels.dtype == np.uint8 and labels.max() < 19


def test_an_embedder_gives_unit_vectors(tmp_path):
    torch.manual_seed(0)
    arguments = {"width": 8}
    card = {"name": "recognition", "network": arguments}
    save_weights(tmp_path / "r.safetensors", RecognitionNetwork(**arguments).state_dict(), card)
    embed = load_embedder(tmp_path / "r.safetensors")
    features = embed(np.stack([CROP, 255 - CROP]))
    assert features.shape == (2, 512) and features.dtype == np.float32
    assert np.linalg.norm(features, axis=1) == pytest.approx(np.ones(2), rel=1e-5)
    assert np.abs(embed(CROP[None])[0] - features[0]).max() < 1e-5
