"""The completed texture: true where seen, free of occluders, without gaps, symmetric where unseen."""

import numpy as np
import pytest
import torch
from portraits import LIGHT, crop_mask, render_portrait

from facerecon.geometry.cameras import head_to_camera, project_standard_crop, standard_focal
from facerecon.geometry.crop import crop_transform
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.storage import load_face_model
from facerecon.preprocess.landmark_fit import LandmarkBasis
from facerecon.reconstruction.texture import FaceTexture, View, complete_texture
from facerecon.render.shading import linear_to_srgb
from facerecon.render.unwrap import uv_surface

SIZE = 128


@pytest.fixture(scope="module")
def model():
    return load_face_model(level=1)


def textured(model, portrait, paint=None, hidden=None, size=SIZE) -> FaceTexture:
    """Texture from a portrait's true parameters; `paint` changes the crop, `hidden` (224, 224) bool is masked out."""
    found = portrait.parameters
    transform = crop_transform(portrait.landmarks, LandmarkBasis.of(model).mean.numpy())
    crop = transform.warp(portrait.image)
    face = crop_mask(transform, portrait.mask).astype(np.float32)
    if paint is not None:
        crop[hidden] = paint
        face[hidden] = 0.0
    with torch.no_grad():
        vertices = model.decode(found.identity, found.expression)
        rotation = euler_to_matrix(found.rotation)
        pixels = project_standard_crop(head_to_camera(vertices, rotation, found.translation))[0]
        albedo = model.decode_albedo(torch.zeros(1, 80))[0]
        view = View(crop, face, pixels, standard_focal(224))
        return complete_texture(view, vertices[0], rotation[0], albedo, LIGHT, model.topology, size)


def true_albedo(model, portrait) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        albedo = model.decode_albedo(portrait.parameters.albedo)[0].clamp(0.02, 0.95)
    covered, values = uv_surface(model.topology.uv, model.topology.triangles, albedo, SIZE)
    return covered.numpy(), 255 * linear_to_srgb(values.numpy())


def test_albedo_and_texture_are_complete_and_near_the_truth(model):
    portrait = render_portrait(model, seed=1)
    result = textured(model, portrait)
    covered, truth = true_albedo(model, portrait)
    assert result.texture.shape == result.albedo.shape == (SIZE, SIZE, 3) and result.texture.dtype == np.uint8
    assert result.texture[covered].min() > 5
    # Colour of light and of skin cannot be told apart: compare up to one factor a channel.
    found = result.albedo.astype(float)
    gain = np.median(truth[covered] / np.maximum(found[covered], 1), axis=0)
    assert np.abs(gain - 1).max() < 0.4
    assert np.abs(found * gain - truth)[covered].mean() < 14
    assert np.abs(found * gain - truth)[result.trust > 0.9].mean() < 9


def test_trusted_texels_are_the_photographs(model):
    portrait = render_portrait(model, seed=1, yaw=0.0)
    result = textured(model, portrait)
    repainted = render_portrait(model, seed=1, yaw=0.0)
    repainted.image[...] = np.where(repainted.mask[..., None], repainted.image // 2, repainted.image)
    darker = textured(model, repainted)
    trusted = result.trust > 0.99
    assert trusted.mean() > 0.15
    ratio = darker.texture[trusted].astype(float) / np.maximum(result.texture[trusted], 1)
    assert np.median(ratio) == pytest.approx(0.5, abs=0.02)


def test_an_occluder_does_not_enter(model):
    portrait = render_portrait(model, seed=2, yaw=0.1)
    rows, columns = np.mgrid[0:224, 0:224]
    hidden = (rows - 140) ** 2 + (columns - 140) ** 2 < 18**2
    clean, covered = textured(model, portrait), textured(model, portrait, (0, 255, 0), hidden)
    lost = (clean.trust > 0.9) & (covered.trust < 0.05)
    assert lost.sum() > 50
    difference = np.abs(clean.texture[lost].astype(float) - covered.texture[lost])
    assert difference.mean() < 25 and difference.max() < 110
    green = covered.texture.astype(int)
    assert (green[..., 1] > green[..., 0] + 40).mean() < 0.002


def test_a_profile_is_filled_from_its_mirror_image(model):
    portrait = render_portrait(model, seed=3, yaw=0.9)
    result = textured(model, portrait)
    covered, truth = true_albedo(model, portrait)
    half = np.zeros_like(covered)
    half[:, : SIZE // 2] = True
    left, right = result.trust[half & covered].mean(), result.trust[~half & covered].mean()
    assert min(left, right) < 0.3 * max(left, right)
    # A mark on the seen cheek appears on the other one.
    trusted = np.argwhere(result.trust > 0.95)
    spot = tuple(trusted[len(trusted) // 2])
    assert np.abs(result.albedo[spot].astype(int) - result.albedo[spot[0], SIZE - 1 - spot[1]]).max() < 40
    found = result.albedo.astype(float)
    gain = np.median(truth[covered] / np.maximum(found[covered], 1), axis=0)
    assert np.abs(found * gain - truth)[covered].mean() < 18


def test_there_is_no_seam(model):
    portrait = render_portrait(model, seed=4, yaw=0.7)
    result = textured(model, portrait)
    covered, truth = true_albedo(model, portrait)
    step = np.abs(np.diff(result.texture.astype(float), axis=1)).max(-1)
    true_step = np.abs(np.diff(truth, axis=1)).max(-1)
    edge = np.abs(np.diff((result.trust > 0.5).astype(int), axis=1)) > 0
    inside = covered[:, 1:] & covered[:, :-1] & edge & (true_step < 6)
    assert inside.sum() > 20 and np.percentile(step[inside], 95) < 16


def test_a_face_of_which_nothing_is_seen_takes_the_models_albedo(model):
    portrait = render_portrait(model, seed=1)
    result = textured(model, portrait, (0, 0, 0), np.ones((224, 224), bool))
    assert result.trust.max() == 0.0
    with torch.no_grad():
        albedo = model.decode_albedo(torch.zeros(1, 80))[0].clamp(0.01, 1.0)
    covered, values = uv_surface(model.topology.uv, model.topology.triangles, albedo, SIZE)
    expected = 255 * linear_to_srgb(values.numpy())
    assert np.abs(result.albedo.astype(float) - expected)[covered.numpy()].max() < 2
