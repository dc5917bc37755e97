"""A benchmark in the NoW folder layout, frozen: rendered once, carried in the package, unpacked when needed.

The people come from another random stream than the training subjects, and a smooth asymmetric deformation, fine relief
and scanner noise move their scans off what the face model can express (docs/synthetic_photographs.md says how far).
`build_now_benchmark` renders a version; `write_now_benchmark` unpacks the carried one and checks its content hash, so
that scores stay comparable when the generator changes.
"""

import hashlib
from dataclasses import replace
from importlib import resources
from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.artefacts import atomic_folder, atomic_hdf5
from facerecon.data.images import encode_jpeg
from facerecon.errors import InputError
from facerecon.evaluate.geometric.now_folder import CHALLENGES
from facerecon.geometry.obj_files import write_obj
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.skin import smooth_noise
from facerecon.morphable.storage import load_open_model
from facerecon.progress import track
from facerecon.provenance import provenance_record, write_folder
from facerecon.synthesis.head_surface import HeadSurface, load_head_surface
from facerecon.synthesis.kernels import fused_vertex_normals
from facerecon.synthesis.occasions import Occasion, Pose, sample_occasion
from facerecon.synthesis.person import Person, sample_person
from facerecon.synthesis.photographs import take_photograph
from facerecon.synthesis.randomness import BENCHMARK_DOMAIN, chance, stream

VERSION = 1
KIND = "now_benchmark"
DISPLACEMENT = 0.5  # mm RMS of the smooth deformation, most of whose variance the identity basis can follow
LEAST_VISIBILITY = 0.3  # ambient visibility below which a scanner would not see a vertex
SCAN_UNIT = 0.01  # mm a count of the stored scan vertices
IMAGES = Path("NoW_Dataset/final_release_version/iphone_pictures")
# The hash that every score on this benchmark names: SHA-256 over the stored arrays, see `content_hash`.
CONTENT_HASH = "5c49b9516c91a2a265d4ea3a254b201e3a2e6639ccd6ceeede65ed1a1d0b2c80"


def carried_benchmark() -> Path:
    """Path of the frozen benchmark inside the package."""
    return Path(str(resources.files("facerecon.synthesis") / "assets" / f"now_benchmark_v{VERSION}.h5"))


def build_now_benchmark(path: Path, subjects: int = 20, size: int = 320, seed: int = 2026) -> str:
    """Render `subjects` people in the four challenges and store photographs, scans and landmarks; returns the hash."""
    cv2.setNumThreads(1)
    surface, model = load_head_surface(), load_open_model()
    region, triangles = scan_region(surface)
    images, names, scans, landmarks = [], [], [], []
    for subject in track(range(subjects), "benchmark subjects", subjects, "subjects"):
        rng = stream(seed, BENCHMARK_DOMAIN, subject)
        person = sample_person(rng, surface, displacement=DISPLACEMENT)
        vertices, points = _scan(rng, surface, model, person, region)
        scans.append(np.round(vertices / SCAN_UNIT).astype(np.int32))
        landmarks.append(points.astype(np.float32))
        for number, challenge in enumerate(CHALLENGES):
            rng = stream(seed, BENCHMARK_DOMAIN, subject, number)
            occasion = _occasion(rng, surface, challenge)
            photograph = take_photograph(rng, surface, model, person, occasion, size)
            images.append(encode_jpeg(photograph.image, 92, full_chroma=False))
            names.append(f"SYN_{subject:03d}/{challenge}/IMG_{number:04d}.jpg")
    with atomic_hdf5(path) as file:
        file.attrs["kind"] = KIND
        file.attrs["version"] = VERSION
        file.attrs["seed"] = seed
        file.attrs["scan_unit_mm"] = SCAN_UNIT
        file["image_names"] = np.array(names, dtype="S64")
        file["image_offsets"] = np.concatenate([[0], np.cumsum([len(image) for image in images])]).astype(np.int64)
        file["image_bytes"] = np.frombuffer(b"".join(images), np.uint8)
        options = {"compression": "gzip", "compression_opts": 9, "shuffle": True, "fletcher32": True}
        file.create_dataset("scan_vertices", data=np.stack(scans), **options)
        file.create_dataset("scan_triangles", data=triangles, **options)
        file.create_dataset("scan_landmarks", data=np.stack(landmarks), **options)
        digest = content_hash(file)
        file.attrs["content_hash"] = digest
    return digest


def content_hash(file: h5py.File) -> str:
    """SHA-256 over names and contents of the stored arrays, in order of name."""
    digest = hashlib.sha256()
    for key in sorted(file):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(file[key][()]).tobytes())
    return digest.hexdigest()


def write_now_benchmark(out: Path, source: Path | None = None, subjects: int | None = None) -> str:
    """Unpack a stored benchmark into the NoW folder layout and return its content hash.

    source: a file of `build_now_benchmark`; None is the carried one, whose hash must be CONTENT_HASH.
    subjects: only the first so many (for trial runs; the hash then names the part).
    Writes imagepathsvalidation.txt, scans/<subject>/<subject>.obj (mm), scans_lmks_onlypp/<subject>/<subject>.pp,
    NoW_Dataset/final_release_version/iphone_pictures/<subject>/<challenge>/<image>.jpg and content_hash.txt.
    """
    path = Path(source) if source is not None else carried_benchmark()
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("kind") != KIND:
                raise InputError(f"{path} is not a stored NoW benchmark; build one with build_now_benchmark")
            digest = content_hash(file)
            names = [name.decode() for name in file["image_names"][()]]
            offsets, data = file["image_offsets"][()], file["image_bytes"][()].tobytes()
            scans = file["scan_vertices"][()] * file.attrs["scan_unit_mm"]
            triangles, landmarks = file["scan_triangles"][()], file["scan_landmarks"][()]
    except (OSError, KeyError) as error:
        raise InputError(f"{path} cannot be read; reinstall facerecon or name another file") from error
    if source is None and digest != CONTENT_HASH:
        raise InputError(f"{path} does not have the frozen benchmark's hash {CONTENT_HASH[:12]}; reinstall facerecon")
    kept = sorted({name.split("/")[0] for name in names})[:subjects]
    if subjects is not None and len(kept) < len(scans):
        digest = hashlib.sha256(f"{digest} first {len(kept)}".encode()).hexdigest()
    chosen = [k for k, name in enumerate(names) if name.split("/")[0] in kept]
    with atomic_folder(out) as folder:
        for k in chosen:
            image = folder / IMAGES / names[k]
            image.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(data[offsets[k] : offsets[k + 1]])
        for subject, scan, points in zip(kept, scans, landmarks, strict=False):
            write_obj(folder / "scans" / subject / f"{subject}.obj", scan, triangles)
            (folder / "scans_lmks_onlypp" / subject).mkdir(parents=True)
            (folder / "scans_lmks_onlypp" / subject / f"{subject}.pp").write_text(_picked_points_text(points))
        (folder / "imagepathsvalidation.txt").write_text("".join(f"{names[k]}\n" for k in chosen))
        (folder / "content_hash.txt").write_text(f"{digest}\n")
        write_folder(
            folder, provenance_record("synthesis.now_benchmark", {"subjects": subjects}, inputs={"stored": digest})
        )
    return digest


def _occasion(rng: Generator, surface: HeadSurface, challenge: str) -> Occasion:
    """A photograph as the challenge asks for it."""
    occasion = sample_occasion(rng, surface.generator.expression_names)
    neutral = np.zeros_like(occasion.expression)
    angles = np.radians([rng.normal(0.0, 8.0), rng.uniform(-60.0, 60.0), rng.normal(0.0, 5.0)])
    pose = Pose(angles, rng.uniform(500.0, 1500.0), rng.uniform(0.4, 0.6), rng.uniform(-0.08, 0.08, 2))
    plain = replace(occasion, pose=pose, hat=False, glasses=False, occluder=None, loose_hair=False)
    if challenge == "multiview_neutral":
        return replace(plain, expression=neutral)
    if challenge == "multiview_expressions":
        return plain
    if challenge == "multiview_occlusions":
        kind = rng.integers(3)
        return replace(
            plain, expression=neutral, glasses=kind == 0, hat=kind == 1, occluder="hand" if kind == 2 else None,
        )  # fmt: skip
    angles = np.radians([rng.normal(5.0, 10.0), rng.normal(0.0, 18.0), rng.normal(0.0, 10.0)])
    close = Pose(angles, rng.uniform(300.0, 450.0), rng.uniform(0.45, 0.65), pose.shift)
    return replace(plain, pose=close, expression=neutral if chance(rng, 0.5) else plain.expression)


def scan_region(surface: HeadSurface) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Vertices and triangles of the fine head that a face scan would hold.

    The face up to hairline and ears, which is what the face model covers give or take a rim, and of that what can be
    seen from outside: no eye sockets, backs of eyeballs, folds of the lids or inner lips.
    """
    generator = surface.generator
    on_face = np.zeros(len(generator.template), np.float32)
    on_face[generator.face_vertices] = 1.0
    keep = (surface.operator @ on_face > 0.5) & (surface.occlusion > LEAST_VISIBILITY)
    triangles = surface.triangles[keep[surface.triangles].all(1)]
    region, compact = np.unique(triangles, return_inverse=True)
    return region, compact.reshape(-1, 3).astype(np.int32)


def _scan(
    rng: Generator, surface: HeadSurface, model: LinearFaceModel, person: Person, region: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scan vertices (n, 3) and seven picked landmarks (7, 3) of the neutral head in the scanner's frame, mm."""
    head = np.asarray(surface.operator @ person.neutral, np.float32)
    landmarks = np.asarray(model.landmark_operator @ person.neutral[surface.generator.face_vertices])
    picked = landmarks[list(model.topology.landmark7_indices)]
    nearest = ((head[None] - picked[:, None]) ** 2).sum(2).argmin(1)
    if person.displacement is not None:
        head = head + person.displacement
        picked = picked + person.displacement[nearest]
    normals = fused_vertex_normals(head, surface.triangles)
    relief = 0.12 * smooth_noise(surface.template, 3.0, rng, 64) + 0.05 * rng.standard_normal(len(head))
    slide = rng.normal(0.0, 0.25, head.shape)
    slide -= (slide * normals).sum(1, keepdims=True) * normals  # along the surface: no vertex matches the model's
    scan = (head + normals * relief[:, None] + slide)[region]
    picked = picked + rng.normal(0.0, 0.3, picked.shape)
    angles = rng.normal(0.0, 0.1, 3)
    rotation = _small_rotation(angles)
    shift = rng.normal(0.0, 30.0, 3)
    return scan @ rotation.T + shift, picked @ rotation.T + shift


def _small_rotation(angles: NDArray) -> NDArray[np.float64]:
    rotation, _ = cv2.Rodrigues(np.asarray(angles, np.float64))
    return rotation


def _picked_points_text(points: NDArray) -> str:
    """MeshLab's picked points file."""
    rows = [
        f' <point x="{x:.4f}" y="{y:.4f}" z="{z:.4f}" name="{k}" active="1"/>' for k, (x, y, z) in enumerate(points)
    ]
    return "\n".join(["<!DOCTYPE PickedPoints>", "<PickedPoints>", *rows, "</PickedPoints>"]) + "\n"
