"""The open face model, and small shards of its own renders."""

import json

import numpy as np
import pytest
import torch

from facerecon.data.images import encode_jpeg, encode_png
from facerecon.data.tables import Table, encode_strings, write_table
from facerecon.morphable.parameters import FaceParameters
from facerecon.morphable.storage import load_face_model
from facerecon.systems.amplitude_phase.model import FaceDecoder

SIZE = 224


def draw_coefficients(count, seed=0, spread=0.6):
    generator = torch.Generator().manual_seed(seed)

    def normal(columns, scale):
        return scale * torch.randn(count, columns, generator=generator)

    light = torch.zeros(count, 9)
    light[:, 0], light[:, 2] = 2.5, 0.6
    return FaceParameters(
        identity=normal(80, spread),
        expression=normal(64, 0.3 * spread),
        albedo=normal(80, spread),
        rotation=normal(3, 0.15),
        translation=torch.tensor([0.0, 0.0, 1000.0]) + normal(3, 4.0),
        light=(light + normal(9, 0.05))[..., None],
    )


def render_crops(face_model, coefficients, size=SIZE):
    """Renders over gray as float crops (B, 3, S, S), labels (skin on the face), landmarks in pixels at 224."""
    decoder = FaceDecoder(face_model, size)
    with torch.no_grad():
        face = decoder.reconstruct(coefficients)
        image, mask = decoder.render(face)
    image = torch.where(mask[:, None], image, torch.full_like(image, 0.4)).clamp(0, 1)
    return image, mask, face.landmarks * (SIZE / size)


def write_shard(path, face_model, count=6, seed=0, embedding=512, recognition_sha256=None, validation=2):
    """A shard of renders whose fit is the truth; its last `validation` rows are of that split."""
    coefficients = draw_coefficients(count, seed)
    image, mask, landmarks = render_crops(face_model, coefficients)
    pixels = (image.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    features = torch.nn.functional.normalize(
        torch.randn(count, embedding, generator=torch.Generator().manual_seed(seed))
    )
    columns = {
        "landmarks": landmarks.numpy(),
        "confidence": np.ones((count, 68), np.float32),
        "crop_scale": np.ones(count, np.float32),
        "crop_offset": np.zeros((count, 2), np.float32),
        "residual": np.zeros(count, np.float32),
        "feature": features.numpy(),
        "split": encode_strings(["train"] * (count - validation) + ["validation"] * validation),
        "subject": encode_strings([str(seed * 1000 + k) for k in range(count)]),
        "dataset": encode_strings(["renders"] * count),
    }
    for name in ("identity", "expression", "rotation", "translation"):
        columns[name] = getattr(coefficients, name).numpy()
    blobs = {
        "image": [encode_jpeg(picture) for picture in pixels],
        "labels": [encode_png(label) for label in mask.byte().numpy()],
    }
    inputs = {"recognition": recognition_sha256} if recognition_sha256 else {}
    attributes = {"face_model_sha256": face_model.sha256, "provenance": json.dumps({"inputs": inputs})}
    ids = [f"{seed}_{k:03d}" for k in range(count)]
    write_table(path, Table("shard", ids, columns, blobs, attributes=attributes))
    return coefficients


@pytest.fixture(scope="session")
def face_model():
    return load_face_model(None, level=1)


@pytest.fixture(scope="session")
def shard(tmp_path_factory, face_model):
    """A shard file of six renders, two of them for validation."""
    path = tmp_path_factory.mktemp("shards") / "shard-0.h5"
    write_shard(path, face_model)
    return path


@pytest.fixture
def draw():
    """draw_coefficients(count, seed, spread)."""
    return draw_coefficients


@pytest.fixture
def render(face_model):
    """render(coefficients, size) -> crops, masks, landmarks."""
    return lambda coefficients, size=SIZE: render_crops(face_model, coefficients, size)


@pytest.fixture
def new_shard(face_model):
    """new_shard(path, **values) writes a shard like `shard`."""
    return lambda path, **values: write_shard(path, face_model, **values)
