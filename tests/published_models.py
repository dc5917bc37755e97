"""Models in publishers' formats that are heads of the right shape, and the quick way round completing them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from publisher_files import save_pickle

from facerecon.geometry.barycentric import barycentric_coordinates
from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.completion import mirror_matrix
from facerecon.morphable.formats import flame
from facerecon.morphable.skinned import SkinnedFaceModel
from facerecon.morphable.source_model import ConvertedModel, SourceModel
from facerecon.morphable.storage import load_open_model
from facerecon.morphable.topology import REGIONS

JOINT_PLACES = ((0, -60, -40), (0, -70, -30), (0, -10, -25), (32, 35, -15), (-32, 35, -15))
"""mm, head frame: root, neck, jaw, left and right eye of the head that `write_flame_head` writes."""


def converted(source: SourceModel) -> ConvertedModel:
    """A source with stand-ins for what it lacks: one gray, a flat chart, landmarks on its first triangle, no mirror."""
    count = len(source.mean)
    filled = {}
    if source.albedo_mean is None:
        filled |= {"albedo_mean": np.full((count, 3), 0.5, np.float32), "albedo": np.zeros((0, count, 3), np.float32)}
    if source.uv is None:
        filled["uv"] = np.full((count, 2), 0.5, np.float32)
    if source.landmark_triangles is None:
        filled |= {"landmark_triangles": np.zeros(68, np.int64)}
        filled |= {"landmark_barycentric": np.tile(np.float32([1, 0, 0]), (68, 1))}
    return ConvertedModel(
        source=replace(source, **filled),
        mirror=np.arange(count),
        regions={name: np.zeros(count, bool) for name in REGIONS},
        identity_mirror=np.eye(len(source.identity), dtype=np.float32),
        expression_mirror=np.eye(len(source.expression), dtype=np.float32),
        completed={"mirror": "none"},
    )


def flame_head() -> dict[str, np.ndarray]:
    """Arrays of a FLAME model file: the open model's coarse head in metres with five joints.

    Its 80 identity components lead the 300, the others are 0; 20 expression components; the jaw turns the chin.
    """
    coarse = load_open_model().coarse
    mean, quads = coarse.mean.astype(np.float64), coarse.quads
    bases = np.zeros((320, *mean.shape))
    bases[:80], bases[300:] = coarse.identity, coarse.expression[:20]
    places = np.array(JOINT_PLACES, np.float64)
    distance = np.linalg.norm(mean[None] - places[:, None], axis=2)
    regressor = np.exp(-((distance / 40) ** 2))
    mouth = (load_open_model().landmark_operator @ mean)[[62, 66], 1].mean()
    chin = 1 / (1 + np.exp((mean[:, 1] - mouth) / 0.8)) / (1 + np.exp(-(mean[:, 2] + 20) / 8))
    weights = np.zeros((len(mean), 5))
    weights[:, 2], weights[:, 1] = chin, 1 - chin
    return {
        "v_template": mean / 1000,
        "shapedirs": bases.transpose(1, 2, 0) / 1000,
        "posedirs": np.zeros((len(mean), 3, 36)),
        "J_regressor": sparse.csc_matrix(regressor / regressor.sum(1, keepdims=True)),
        "weights": weights,
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
        "f": np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.uint32),
    }


def write_flame_head(folder: Path) -> list[Path]:
    """The files of `flame_head`: model, landmarks and texture space, as FLAME's publishers have them."""
    content, open_model = flame_head(), load_open_model()
    mean, triangles = 1000 * content["v_template"], content["f"].astype(np.int64)
    points = open_model.landmark_operator @ open_model.coarse_mean
    _, closest, found = Surface(mean, triangles).closest(points)
    places = barycentric_coordinates(closest, mean[triangles[found]])
    embedding = {
        "full_lmk_faces_idx": found[None],
        "full_lmk_bary_coords": places[None],
        "dynamic_lmk_faces_idx": np.tile(found[:17], (79, 1)),
        "dynamic_lmk_bary_coords": np.tile(places[:17], (79, 1, 1)),
    }
    np.save(folder / "landmark_embedding.npy", np.array(embedding))
    size, shades = 64, np.array([70.0, 105.0, 165.0])  # blue, green, red
    directions = np.zeros((size, size, 3, 4))
    directions[..., 0], directions[: size // 2, ..., 1] = 25.0, 10.0
    np.savez(
        folder / "FLAME_texture.npz",
        mean=np.tile(shades, (size, size, 1)),
        tex_dir=directions,
        vt=open_model.topology.uv[: len(mean)],
        ft=content["f"],
    )
    model = save_pickle(folder / "generic_model.pkl", content)
    return [model, folder / "landmark_embedding.npy", folder / "FLAME_texture.npz"]


def load_flame_head(folder: Path) -> SkinnedFaceModel:
    """The model of `write_flame_head` as `complete_model` gives it, but for the regions: without registration."""
    source = flame.read(write_flame_head(folder))
    mirror = load_open_model().topology.mirror[: len(source.mean)]
    model = replace(
        converted(source),
        mirror=mirror,
        identity_mirror=mirror_matrix(source.identity, mirror),
        expression_mirror=mirror_matrix(source.expression, mirror),
    )
    return SkinnedFaceModel(model, sha256="flame head")
