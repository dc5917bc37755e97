"""Fits, systems and augmentation with a face model that is not the open one: a FLAME head whose jaw turns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from portraits import render_portrait
from published_models import load_flame_head

from facerecon.errors import InputError
from facerecon.geometry.crop import crop_transform
from facerecon.morphable.parameters import FaceParameters
from facerecon.morphable.skinned import SkinnedFaceModel
from facerecon.preprocess.landmark_fit import LandmarkBasis, fit_landmarks
from facerecon.systems.amplitude_phase.model import CoefficientNetwork, FaceDecoder, load_system
from facerecon.systems.amplitude_phase.settings import NetworkSettings
from facerecon.systems.amplitude_phase.training import fit_distance, make_task
from facerecon.systems.augmentation import CoefficientMirror, Crop, mirror_crop
from facerecon.systems.oracle import fit_identity


@pytest.fixture(scope="module")
def flame(tmp_path_factory: pytest.TempPathFactory) -> SkinnedFaceModel:
    return load_flame_head(tmp_path_factory.mktemp("flame"))


def parameters(model: SkinnedFaceModel, count: int, **given: torch.Tensor) -> FaceParameters:
    """Frontal faces at the standard distance, zeros but for what is given."""
    light = torch.zeros(count, 9, 1)
    light[:, 0] = 2.5
    values = {name: torch.zeros(count, size) for name, size in model.dimensions.items()}
    values |= {"rotation": torch.zeros(count, 3), "translation": torch.tensor([[0.0, 0.0, 1000.0]]).repeat(count, 1)}
    return FaceParameters(**(values | given), light=light)


@pytest.mark.parametrize(("opening", "most"), [(0.0, 0.3), (2.0, 1.5)])
def test_landmark_fit_follows_the_jaw(flame: SkinnedFaceModel, opening: float, most: float) -> None:
    """The basis is linear in the jaw's turn: what it leaves over grows with the square of the angle."""
    expression = torch.zeros(1, 23)
    expression[0, 20] = opening
    face = FaceDecoder(flame, 224).reconstruct(parameters(flame, 1, expression=expression))
    fit = fit_landmarks(face.landmarks, torch.full((1, 68), 1.0), LandmarkBasis.of(flame))
    assert float(fit.residual) < most
    assert float(fit.expression[0, 20]) == pytest.approx(opening, abs=1.0)
    assert float((fit.rotation).abs().max()) < 0.05


def test_the_fit_of_a_mirrored_crop_lies_on_its_landmarks(flame: SkinnedFaceModel) -> None:
    portrait = render_portrait(flame, seed=3, spread=0.5)
    landmarks = crop_transform(portrait.landmarks, LandmarkBasis.of(flame).mean.numpy()).to_crop(portrait.landmarks)
    fit = {name: getattr(portrait.parameters, name)[0].numpy() for name in ("identity", "expression")}
    fit |= {name: getattr(portrait.parameters, name)[0].numpy() for name in ("rotation", "translation")}
    blank = np.zeros((224, 224), np.uint8)
    crop = Crop(np.repeat(blank[..., None], 3, 2), blank, landmarks.astype(np.float32), np.ones(68, np.float32), **fit)
    mirrored = mirror_crop(crop, CoefficientMirror.of(flame))
    given = {name: torch.from_numpy(np.float32(getattr(mirrored, name)))[None] for name in fit}
    found = FaceDecoder(flame, 224).reconstruct(parameters(flame, 1, **given)).landmarks[0]
    assert np.abs(found.numpy() - mirrored.landmarks).max() < 1.0
    assert np.abs(crop.landmarks - mirrored.landmarks).max() > 5


def test_oracle_fits_the_identity_at_rest(flame: SkinnedFaceModel) -> None:
    identity = torch.zeros(1, 300)
    identity[0, :5] = torch.tensor([1.5, -1.0, 2.0, 0.5, -1.5])
    vertices = flame.decode(identity, torch.zeros(1, 23))
    seven = flame.landmarks(vertices)[0, list(flame.topology.landmark7_indices)].double().numpy()
    fit = fit_identity(vertices[0].double().numpy() + [10, 20, 30], seven + [10, 20, 30], flame)
    assert fit.identity.shape == (300,) and fit.distance < 0.2
    assert np.linalg.norm(fit.vertices - vertices[0].numpy(), axis=1).mean() < 0.3


def test_the_network_has_the_model_s_outputs_and_learns_the_jaw(flame: SkinnedFaceModel) -> None:
    network = CoefficientNetwork(flame.dimensions, NetworkSettings())
    predicted = network(torch.rand(2, 3, 112, 112))
    assert (predicted.identity.shape[1], predicted.expression.shape[1], predicted.albedo.shape[1]) == (300, 23, 4)
    decoder = FaceDecoder(flame, 112)
    picture, covered = decoder.render(decoder.reconstruct(predicted))
    assert covered.float().mean() > 0.2
    picture.sum().backward()
    rows = network.heads.bias.grad[300:323]
    assert (rows[20:] != 0).all()


def test_the_guide_is_a_number_without_expressions() -> None:
    face = FaceParameters(
        torch.ones(2, 5), torch.ones(2, 0), torch.ones(2, 0), torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 9, 1)
    )
    batch = {"identity": torch.zeros(2, 5), "expression": torch.zeros(2, 0)}
    batch |= {"rotation": torch.zeros(2, 3), "translation": torch.zeros(2, 3)}
    assert float(fit_distance(face, batch)) == 4.0


def test_what_belongs_to_another_model_is_refused(flame: SkinnedFaceModel, shard: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="but face model flame head is in use") as caught:
        load_system(None, flame)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"nowhere\.h5: no such face-model file"):
        make_task({}, [shard], 0, 2, face_model=tmp_path / "nowhere.h5")
