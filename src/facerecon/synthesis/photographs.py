"""Training photographs: seeded one by one, so that any shard can be made alone.

A shard is a folder: `images/<id>.jpg` (sRGB), `labels/<id>.png` (parsing classes, uint8), `mattes/<id>.png` (coverage,
uint8) and `ground_truth.h5`, whose rows are the photographs (see docs/synthetic_photographs.md).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import skimage
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.artefacts import atomic_folder, atomic_hdf5
from facerecon.data.images import encode_jpeg, encode_png
from facerecon.errors import InputError
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.storage import load_open_model
from facerecon.progress import Progress
from facerecon.provenance import provenance_record, write_folder, write_hdf5
from facerecon.synthesis.backgrounds import sample_background
from facerecon.synthesis.beards import beard_layers
from facerecon.synthesis.bust import PlacedBust, place_bust
from facerecon.synthesis.camera_effects import apply_camera, automatic_exposure, sample_jpeg_quality
from facerecon.synthesis.clothing import Outfit, bust_meshes, dress, sample_outfit
from facerecon.synthesis.eyes_and_mouth import sample_gaze
from facerecon.synthesis.glasses import look_through, sample_glasses
from facerecon.synthesis.hair import HairLayers, hair_layers
from facerecon.synthesis.hair_rendering import composite_hair
from facerecon.synthesis.hands import Bearer, HandLook
from facerecon.synthesis.head_surface import CLASS, HeadSurface, load_head_surface
from facerecon.synthesis.headwear import sample_headwear
from facerecon.synthesis.jewellery import ear_lobes, sample_earrings
from facerecon.synthesis.kernels import fused_vertex_normals
from facerecon.synthesis.landmark_visibility import head_depth, landmark_visibility
from facerecon.synthesis.lashes import lash_strands
from facerecon.synthesis.occasions import Occasion, Pose, sample_body_turn, sample_occasion
from facerecon.synthesis.occluders import HELD_BY_HAND, draw_blob, occluder_meshes
from facerecon.synthesis.person import Person, sample_person
from facerecon.synthesis.randomness import JPEG_DOMAIN, TRAINING_DOMAIN, stream
from facerecon.synthesis.rendering import Camera, area_reduce, render_scene, tone_mapped

SCHEMA_VERSION, READABLE = 3, (2, 3)  # version 2 has no mattes, exposure and identity_residual
KIND = "synthetic_photographs"
SUPERSAMPLING = 1.5
ELBOWS = np.float32([[-270.0, -330.0, 150.0], [270.0, -330.0, 150.0]])  # mm from the neck's rim, of raised arms
YOUNGEST_WITH_EARRINGS = 10.0  # years
VERTEX_UNIT = 0.01  # mm a count of the int16 face vertices


@dataclass(frozen=True)
class Photograph:
    """A photograph and what is known of it.

    image: (S, S, 3) uint8 sRGB. labels: (S, S) uint8 parsing classes. matte: (S, S) uint8 share of each pixel before
    the background, 255 all of it. landmarks: (68, 2) px. visible: (68,) the landmarks that nothing hides. camera: that
    took it. face_vertices: (Vc, 3) coarse face mesh with expression, head frame, mm. occlusion: share of the landmarks
    in the picture that hair, clothes, hats, dark glasses or occluders hide. dark_glasses: sunglasses are worn.
    exposure: what radiance is multiplied by before the tone curve.

    Landmarks and mesh are exact for a person without displacement; the displacement of the benchmark's people moves the
    surface that is photographed, but neither landmarks nor mesh.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    matte: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    visible: NDArray[np.bool_]
    camera: Camera
    face_vertices: NDArray[np.float32]
    occlusion: float
    dark_glasses: bool
    exposure: float


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
    camera, fine = place_camera(landmarks, occasion.pose, size), round(size * SUPERSAMPLING)
    view = camera.scaled(fine / size)

    outfit = sample_outfit(rng, person.identity.sex > 0.5)
    bust = place_bust(person.bust, coarse, sample_body_turn(rng, occasion.pose.angles))
    extras = bust_meshes(outfit, bust, person.neck_colour)
    hat = sample_headwear(rng, surface, head, landmarks) if occasion.hat else None
    if hat is not None:
        extras.append(hat.mesh)
    ears = ear_tops(surface, head)
    glasses = sample_glasses(rng, landmarks, ears) if occasion.glasses else None
    if glasses is not None:
        extras.append(glasses.frame)
    earrings = sample_earrings(rng, ear_lobes(surface, head), person.identity.sex > 0.5)
    if earrings is not None and person.identity.age > YOUNGEST_WITH_EARRINGS:
        extras.append(earrings)
    if occasion.occluder is not None:
        extras += occluder_meshes(
            rng, occasion.occluder, _bearer(rng, surface, person, outfit, bust, head, landmarks, ears)
        )
    hair = HairLayers([], [])
    if hat is None or not hat.hides_hair:
        hair = hair_layers(
            rng, surface, head, person.hair, landmarks, hat.rim if hat else None, occasion.loose_hair, bust.vertices
        )
    beard = beard_layers(rng, surface, head, person.facial_hair)
    beard = HairLayers([lash_strands(surface, coarse, person.eyes), *beard.strands], [])
    gaze = sample_gaze(rng, camera.rotation)
    rendering = render_scene(surface, person, head, extras, view, occasion.light, fine, hair.casters, gaze)
    rendering = dress(rendering, view, outfit, bust, person.neck_colour)
    rendering = composite_hair(rng, rendering, beard, view, occasion.light, fine)
    if glasses is not None:
        rendering = look_through(rendering, glasses, view, occasion.light)
    rendering = composite_hair(rng, rendering, hair, view, occasion.light, fine)

    skin = rendering.radiance[rendering.labels == CLASS["skin"]][::5]
    exposure = automatic_exposure(rng, skin, occasion.light.level())
    opacity = rendering.coverage()[..., None]
    background = sample_background(rng, fine, occasion.light.tint())
    image = tone_mapped(rendering.radiance * exposure * opacity + background * (1.0 - opacity))
    projected = camera.project(landmarks)
    if occasion.occluder == "blob":
        box = np.concatenate([projected[:, :2].min(0), projected[:, :2].max(0)]) * (fine / size)
        image, rendering = draw_blob(rng, image, rendering, box)
    image = apply_camera(rng, area_reduce(image, size))
    bare = head_depth(camera, surface, head, size)
    visible, occlusion = landmark_visibility(projected, rendering.depth, rendering.labels, bare)
    return Photograph(
        image,
        cv2.resize(rendering.labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT),
        np.round(area_reduce(rendering.coverage(), size) * 255.0).astype(np.uint8),
        projected[:, :2].astype(np.float32),
        visible,
        camera,
        face,
        occlusion,
        glasses is not None and glasses.dark,
        float(exposure),
    )


def _bearer(
    rng: Generator,
    surface: HeadSurface,
    person: Person,
    outfit: Outfit,
    bust: PlacedBust,
    head: NDArray,
    landmarks: NDArray,
    ears: NDArray,
) -> Bearer:
    on_face = np.flatnonzero(surface.is_part("skin"))[::3]
    normals = fused_vertex_normals(head, surface.triangles)[on_face]
    look = HandLook(person.neck_colour, outfit.colour, float(rng.uniform(15.0, 170.0)))
    elbows = bust.from_body(ELBOWS)
    return Bearer(landmarks, head[on_face], normals, ears, elbows, person.identity.sex, person.identity.age, look)


def ear_tops(surface: HeadSurface, head: NDArray) -> NDArray[np.float32]:
    """(2, 3) where glasses rest on the right and the left ear of a head (V, 3), mm."""
    on_ear = (surface.masks["ears"] > 0.5) & (np.abs(surface.template[:, 0]) < 80.0)
    tops = []
    for side in (-1.0, 1.0):
        ear = np.flatnonzero(on_ear & (side * surface.template[:, 0] > 0.0))
        tops.append(head[ear[surface.template[ear, 1].argmax()]])
    return np.array(tops, np.float32)


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
        for part in ("images", "labels", "mattes"):
            (folder / part).mkdir()
        for subject in range(first_subject, first_subject + subjects):
            person, taken = render_subject(seed, subject, photos_per_subject, size, surface, model)
            neutral_face = person.neutral[surface.generator.face_vertices]
            identity = model.project_identity(neutral_face)
            fitted = model.coarse_mean + np.einsum("kij,k->ij", model.coarse_identity, identity)
            residual = np.sqrt(((neutral_face - fitted) ** 2).sum(1).mean())
            for number, (occasion, photograph) in enumerate(taken):
                name = f"{subject:07d}_{number:02d}"
                quality = sample_jpeg_quality(stream(seed, JPEG_DOMAIN, subject, number))
                jpeg = encode_jpeg(photograph.image, quality, full_chroma=False)
                (folder / "images" / f"{name}.jpg").write_bytes(jpeg)
                (folder / "labels" / f"{name}.png").write_bytes(encode_png(photograph.labels))
                (folder / "mattes" / f"{name}.png").write_bytes(encode_png(photograph.matte))
                expression = model.project_expression(photograph.face_vertices - neutral_face)
                rows.append(_row(name, subject, person, occasion, photograph, identity, residual, expression))
                progress.advance()
        settings = {
            "first_subject": first_subject, "subjects": subjects, "photos_per_subject": photos_per_subject,
            "size": size, "seed": seed,
        }  # fmt: skip
        # Parts of its sample pictures stand behind some heads, so that the pixels depend on its version.
        inputs = {"face_model": model.sha256, "scikit_image": skimage.__version__}
        record = provenance_record("synthesis.photographs", settings, seed=seed, inputs=inputs)
        _write_ground_truth(folder / "ground_truth.h5", rows, record, model.sha256)
        write_folder(folder, record)


def _row(
    name: str, subject: int, person: Person, occasion: Occasion, photograph: Photograph, identity: NDArray,
    residual: float, expression: NDArray,
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
        "identity_residual": np.float32(residual),
        "expression": np.asarray(expression, np.float32),
        "light": occasion.light.coefficients(),
        "exposure": np.float32(photograph.exposure),
        "face_vertices": np.round(photograph.face_vertices / VERTEX_UNIT).astype(np.int16),
        "sex": np.float32(person.identity.sex),
        "age": np.float32(person.identity.age),
        "ancestry": np.asarray(person.identity.ancestry, np.float32),
        "melanin": np.float32(person.melanin),
        "weight": np.float32(person.identity.weight),
        "occluded": np.bool_(occasion.occluder is not None),
        "occlusion": np.float32(photograph.occlusion),
        "hands": np.bool_(occasion.occluder in HELD_BY_HAND),
        "mask": np.bool_(occasion.occluder == "mask"),
        "key_light": np.float32(occasion.light.key_share()),
        "glasses": np.bool_(occasion.glasses),
        "dark_glasses": np.bool_(photograph.dark_glasses),
        "hat": np.bool_(occasion.hat),
    }


def _write_ground_truth(path: Path, rows: list[dict[str, Any]], record: dict[str, Any], model_hash: str) -> None:
    with atomic_hdf5(path) as file:
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
            if file.attrs.get("kind") != KIND or file.attrs.get("schema_version") not in READABLE:
                raise InputError(f"{path} is not a version {SCHEMA_VERSION} ground truth; make the photographs again")
            columns = {key: file[key][()] for key in file}
            columns["face_vertices"] = columns["face_vertices"] * np.float32(file.attrs["vertex_unit_mm"])
    except OSError as error:
        raise InputError(f"{path} cannot be read; make the photographs again") from error
    columns["id"] = columns["id"].astype(str)
    return columns
