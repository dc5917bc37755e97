"""Training photographs: seeded one by one, so that any shard can be made alone.

A shard is a folder: `images/<id>.jpg` (sRGB), `labels/<id>.png` (parsing classes, uint8) and `ground_truth.h5`, whose
rows are the photographs (see docs/data.md).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.artefacts import atomic_folder
from facerecon.data.images import encode_jpeg, encode_png
from facerecon.errors import InputError
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.storage import load_open_model
from facerecon.progress import Progress
from facerecon.provenance import provenance_record, write_folder, write_hdf5
from facerecon.synthesis.backgrounds import sample_background
from facerecon.synthesis.camera_effects import apply_camera, sample_jpeg_quality
from facerecon.synthesis.expressions import sample_expression
from facerecon.synthesis.head_surface import HeadSurface, load_head_surface
from facerecon.synthesis.lighting import Light, sample_light
from facerecon.synthesis.occluders import draw_loose_hair, draw_occluder
from facerecon.synthesis.person import Person, sample_person
from facerecon.synthesis.randomness import TRAINING_DOMAIN, chance, stream
from facerecon.synthesis.rendering import Camera, area_reduce, render_scene, tabulated_srgb
from facerecon.synthesis.shapes import glasses_mesh, hair_mesh, hat_mesh, torso_mesh

SCHEMA_VERSION = 1
KIND = "synthetic_photographs"
SUPERSAMPLING = 1.5
VERTEX_UNIT = 0.01  # mm a count of the int16 face vertices


@dataclass(frozen=True)
class Pose:
    """angles: (3,) pitch, yaw, roll, rad. distance: camera to head, mm. extent: larger side of the landmarks' box as a
    fraction of the image. shift: (2,) of the box centre from the image centre, fraction of the image."""

    angles: NDArray[np.float64]
    distance: float
    extent: float
    shift: NDArray[np.float64]


@dataclass(frozen=True)
class Occasion:
    """What varies between photographs of one person."""

    expression: NDArray[np.float32]
    pose: Pose
    light: Light
    hat: bool = False
    glasses: bool = False
    occluders: int = 0
    loose_hair: bool = False


@dataclass(frozen=True)
class Photograph:
    """image: (S, S, 3) uint8 RGB. labels: (S, S) uint8. landmarks: (68, 2) px. visible: (68,). face_vertices: (Vc, 3)
    coarse face mesh with expression, head frame, mm. Both are exact for a person without displacement; the displacement
    of the benchmark's people moves the surface that is photographed, but neither landmarks nor mesh."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    visible: NDArray[np.bool_]
    camera: Camera
    face_vertices: NDArray[np.float32]


def sample_pose(rng: Generator) -> Pose:
    """Half of the heads near frontal, half at any yaw up to 90 degrees; close and far cameras."""
    yaw = rng.normal(0.0, 25.0) if chance(rng, 0.5) else rng.uniform(-90.0, 90.0)
    pitch = np.clip(rng.normal(0.0, 17.0), -45.0, 45.0)
    roll = np.clip(rng.normal(0.0, 13.0), -35.0, 35.0)
    return Pose(
        np.radians([pitch, yaw, roll]),
        float(np.exp(rng.uniform(np.log(380.0), np.log(2500.0)))),
        rng.uniform(0.42, 0.72),
        rng.uniform(-0.10, 0.10, 2),
    )


def sample_occasion(rng: Generator, names: list[str]) -> Occasion:
    """Anything that a photograph in the wild may show."""
    return Occasion(
        expression=sample_expression(rng, names),
        pose=sample_pose(rng),
        light=sample_light(rng),
        hat=chance(rng, 0.12),
        glasses=chance(rng, 0.22),
        occluders=int(rng.integers(1, 3)) if chance(rng, 0.3) else 0,
        loose_hair=chance(rng, 0.07),
    )


def place_camera(landmarks: NDArray, pose: Pose, size: int) -> Camera:
    """Camera that shows the landmarks (68, 3) of a head, mm, at the pose's extent and shift in a size x size image."""
    rotation = euler_to_matrix(torch.as_tensor(pose.angles)).numpy().astype(np.float32)
    turned = (landmarks @ rotation.T) * [1.0, -1.0, -1.0] + [0.0, 0.0, pose.distance]
    normalised = turned[:, :2] / turned[:, 2:3]
    low, high = normalised.min(0), normalised.max(0)
    focal = float(pose.extent * size / (high - low).max())
    wanted = np.asarray(pose.shift) * size / focal
    sideways = (wanted - (low + high) / 2.0) * pose.distance
    translation = np.array([*sideways, pose.distance], np.float32)
    return Camera(rotation, translation, focal, np.full(2, size / 2.0, np.float32))


def take_photograph(
    rng: Generator, surface: HeadSurface, model: LinearFaceModel, person: Person, occasion: Occasion, size: int
) -> Photograph:
    """Render one photograph of a person.

    A displacement of the person is seen in the picture only: landmarks, camera and face_vertices are those of the head
    without it, off by the displacement (0.5 mm RMS in the benchmark, which stores none of them).
    """
    coarse = person.neutral + surface.generator.expression_offsets(occasion.expression)
    head = np.asarray(surface.operator @ coarse, np.float32)
    if person.displacement is not None:
        head = head + person.displacement
    face = coarse[surface.generator.face_vertices]
    landmarks = np.asarray(model.landmark_operator @ face, np.float32)
    skin = head[surface.is_part("skin")]
    eye_height = float(landmarks[36:48, 1].mean())
    extras = [torso_mesh(rng, skin, person.skin_colour)]
    if person.hair.kind is not None:
        extras.append(hair_mesh(rng, skin, eye_height, person.hair))
    if occasion.hat:
        extras.append(hat_mesh(rng, skin, eye_height))
    if occasion.glasses:
        extras.append(glasses_mesh(rng, landmarks))
    camera = place_camera(landmarks, occasion.pose, size)
    fine = round(size * SUPERSAMPLING)
    rendering = render_scene(surface, person, head, extras, camera.scaled(fine / size), occasion.light, fine)

    exposure = _exposure(rng, rendering.radiance[rendering.covered & (rendering.labels > 0)])
    image = tabulated_srgb(rendering.radiance * exposure)
    image = np.where(rendering.covered[..., None], image, sample_background(rng, fine))
    labels = rendering.labels
    projected = camera.project(landmarks)
    box = np.concatenate([projected[:, :2].min(0), projected[:, :2].max(0)]) * (fine / size)
    skin_srgb = tabulated_srgb(person.skin_colour * exposure)
    for _ in range(occasion.occluders):
        image = draw_occluder(rng, image, labels, skin_srgb, box)
    if occasion.loose_hair:
        image = np.ascontiguousarray(image)
        draw_loose_hair(rng, image, labels, tabulated_srgb(person.hair.colour * exposure * 1.5))
    image = apply_camera(rng, area_reduce(image, size))
    return Photograph(
        image,
        cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT),
        projected[:, :2].astype(np.float32),
        _visible(projected, rendering.depth, labels, fine / size),
        camera,
        face,
    )


def _exposure(rng: Generator, radiance: NDArray) -> np.float32:
    """Gain that brings the head's brightness to a random level."""
    level = np.percentile(radiance.mean(1), rng.uniform(40.0, 85.0)) if len(radiance) else 0.3
    return np.float32(rng.uniform(0.10, 0.6) / max(float(level), 1e-3))


def _visible(
    projected: NDArray, depth: NDArray, labels: NDArray, scale: float, tolerance: float = 6.0
) -> NDArray[np.bool_]:
    """(68,) True where nothing lies more than `tolerance` mm in front of the landmark and no occluder covers it.

    depth, labels: `scale` times as large as the pixels of `projected`.
    """
    size = depth.shape[0]
    column, row = np.floor(projected[:, :2] * scale).astype(int).T
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    column, row = column.clip(0, size - 1), row.clip(0, size - 1)
    return inside & (projected[:, 2] <= depth[row, column] + tolerance) & (labels[row, column] > 0)


def render_subject(
    seed: int, subject: int, photographs: int, size: int, surface: HeadSurface, model: LinearFaceModel
) -> tuple[Person, list[tuple[Occasion, Photograph]]]:
    """All photographs of one training subject."""
    person = sample_person(stream(seed, TRAINING_DOMAIN, subject), surface)
    names = surface.generator.expression_names
    taken = []
    for number in range(photographs):
        rng = stream(seed, TRAINING_DOMAIN, subject, number)
        occasion = sample_occasion(rng, names)
        taken.append((occasion, take_photograph(rng, surface, model, person, occasion, size)))
    return person, taken


def write_photographs(
    out: Path, first_subject: int, subjects: int, photos_per_subject: int, size: int = 224, seed: int = 0
) -> None:
    """Write one shard of training photographs: subjects first_subject ... first_subject + subjects - 1.

    The same arguments give the same pixels; a subject does not depend on the shard that it is made in.
    """
    if subjects < 1 or photos_per_subject < 1 or not 64 <= size <= 1024:
        raise InputError("synthesize needs at least one subject and one photograph, and a size of 64 to 1024 pixels")
    cv2.setNumThreads(1)
    surface, model = load_head_surface(), load_open_model()
    rows: list[dict[str, Any]] = []
    progress = Progress(f"photographs {Path(out).name}", subjects * photos_per_subject)
    with atomic_folder(out) as folder:
        (folder / "images").mkdir()
        (folder / "labels").mkdir()
        for subject in range(first_subject, first_subject + subjects):
            person, taken = render_subject(seed, subject, photos_per_subject, size, surface, model)
            neutral_face = person.neutral[surface.generator.face_vertices]
            identity = model.project_identity(neutral_face)
            for number, (occasion, photograph) in enumerate(taken):
                name = f"{subject:07d}_{number:02d}"
                quality = sample_jpeg_quality(stream(seed, TRAINING_DOMAIN + 100, subject, number))
                jpeg = encode_jpeg(photograph.image, quality, full_chroma=False)
                (folder / "images" / f"{name}.jpg").write_bytes(jpeg)
                (folder / "labels" / f"{name}.png").write_bytes(encode_png(photograph.labels))
                expression = model.project_expression(photograph.face_vertices - neutral_face)
                rows.append(_row(name, subject, person, occasion, photograph, identity, expression))
                progress.advance()
        settings = {
            "first_subject": first_subject, "subjects": subjects, "photos_per_subject": photos_per_subject,
            "size": size, "seed": seed,
        }  # fmt: skip
        record = provenance_record("synthesis.photographs", settings, seed=seed, inputs={"face_model": model.sha256})
        _write_ground_truth(folder / "ground_truth.h5", rows, record, model.sha256)
        write_folder(folder, record)


def _row(
    name: str, subject: int, person: Person, occasion: Occasion, photograph: Photograph, identity: NDArray,
    expression: NDArray,
) -> dict[str, Any]:  # fmt: skip
    camera = photograph.camera
    return {
        "id": name.encode(),
        "subject": np.int64(subject),
        "landmarks": photograph.landmarks,
        "landmarks_visible": photograph.visible,
        "rotation": occasion.pose.angles.astype(np.float32),
        "translation": camera.translation,
        "focal": np.float32(camera.focal),
        "centre": camera.centre,
        "identity": np.asarray(identity, np.float32),
        "expression": np.asarray(expression, np.float32),
        "light": occasion.light.coefficients(),
        "face_vertices": np.round(photograph.face_vertices / VERTEX_UNIT).astype(np.int16),
        "sex": np.float32(person.identity.sex),
        "age": np.float32(person.identity.age),
        "ancestry": np.asarray(person.identity.ancestry, np.float32),
        "melanin": np.float32(person.melanin),
        "occluded": np.bool_(occasion.occluders > 0),
        "glasses": np.bool_(occasion.glasses),
        "hat": np.bool_(occasion.hat),
    }


def _write_ground_truth(path: Path, rows: list[dict[str, Any]], record: dict[str, Any], model_hash: str) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["kind"] = KIND
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["face_model_sha256"] = model_hash
        file.attrs["vertex_unit_mm"] = VERTEX_UNIT
        write_hdf5(file, record)
        for key in rows[0]:
            column = np.array([row[key] for row in rows])
            file.create_dataset(key, data=column, fletcher32=True, chunks=column.shape, compression="gzip")


def load_ground_truth(folder: Path) -> dict[str, NDArray]:
    """Columns of a shard's ground_truth.h5 as arrays; `id` as str, `face_vertices` as float32 mm.

    Raises InputError when the file is missing, damaged or of another kind.
    """
    path = Path(folder) / "ground_truth.h5"
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("kind") != KIND or file.attrs.get("schema_version") != SCHEMA_VERSION:
                raise InputError(f"{path} is not a version {SCHEMA_VERSION} ground truth; make the photographs again")
            columns = {key: file[key][()] for key in file}
            columns["face_vertices"] = columns["face_vertices"] * np.float32(file.attrs["vertex_unit_mm"])
    except OSError as error:
        raise InputError(f"{path} cannot be read; make the photographs again") from error
    columns["id"] = columns["id"].astype(str)
    return columns
