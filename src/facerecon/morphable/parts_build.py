"""Builder of the carried parts file: what belongs to the head beside the face, made linear in the face's coefficients.

The face model's components are linear combinations of the sampled heads, so the regression of a head's other vertices
on the face's coefficients is the same combination of these: least squares for the vertices, and without a step where
the face ends.
"""

import os

import numpy as np

from facerecon.morphable import open_face
from facerecon.morphable.eyes import eye_albedo, eye_centre
from facerecon.morphable.face_region import cut_face
from facerecon.morphable.head import HeadGenerator, rigid_alignment
from facerecon.morphable.head_data import HeadData, load_head_data, mirror_image
from facerecon.morphable.lashes import lash_sheets
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.part_charts import chart_patch
from facerecon.morphable.parts_file import StoredParts, save_parts
from facerecon.morphable.skin import sample_skin, skin_albedo
from facerecon.morphable.storage import load_face_model
from facerecon.morphable.subdivision import subdivide
from facerecon.progress import track

PARTS = ("head", "eye_sockets", "eye_left", "eye_right", "mouth_cavity", "teeth_upper", "teeth_lower", "tongue")
SKIN_PARTS = ("head", "eye_sockets")
BATCH = 200
LASH_COLOUR = 0.012
# Linear colours inside the mouth: colour, mm of depth behind the teeth's front at which they go dark, mm over which
# they do, brightest. The dark stands for the shadow in there, which diffuse shading without occlusion leaves out.
MOUTH_COLOURS = {
    "mouth_cavity": ((0.22, 0.06, 0.05), 48.0, 70.0, 0.6),
    "teeth_upper": ((0.62, 0.58, 0.48), 42.0, 42.0, 1.0),
    "teeth_lower": ((0.62, 0.58, 0.48), 42.0, 42.0, 1.0),
    "tongue": ((0.38, 0.13, 0.12), 52.0, 50.0, 0.8),
}
DARKEST = 0.03


def build_parts(
    path: str | os.PathLike, model_path: str | os.PathLike | None = None, head_path: str | os.PathLike | None = None
) -> None:
    """Write the parts file of a face model and the head data it was built from; `None` takes the carried ones."""
    model, head = load_face_model(model_path, level=1), load_head_data(head_path)
    save_parts(make_parts(model, head), path)


def make_parts(model: LinearFaceModel, head: HeadData) -> StoredParts:
    """Parts of the heads behind `model`, a level-1 face model of the same `head`."""
    face = cut_face(head)
    others = np.setdiff1d(np.arange(len(head.template)), face.head_vertices)
    head_vertices = np.concatenate([face.head_vertices, others])
    number = np.empty(len(head_vertices), dtype=np.int64)
    number[head_vertices] = np.arange(len(head_vertices))
    mirror = number[head.mirror[head_vertices]]
    template = head.template[head_vertices].astype(np.float64)
    quads = _part_quads(head, face.head_vertices[face.quads], number)
    count = len(face.head_vertices)
    mirror_others = mirror[count:] - count

    mean, identity = identity_regression(model, head, others)
    albedo_mean, albedo, iris_mean, iris = albedo_regression(model, head, others)
    expression = expression_regression(model, head, others)
    identity, expression = (
        (basis + signs.numpy()[:, None, None] * mirror_image(basis, mirror_others)) / 2
        for basis, signs in ((identity, model.identity_signs), (expression, model.expression_signs))
    )
    albedo = (albedo + model.albedo_signs.numpy()[:, None, None] * albedo[:, mirror_others]) / 2
    albedo_mean = (albedo_mean + albedo_mean[mirror_others]) / 2
    _colour_inner_parts(albedo_mean, albedo, template, quads, number[np.unique(head.lash_quads)], count)
    lid_edges = np.concatenate(
        open_face.eye_holes(face.quads, face.part, head.template[face.head_vertices].astype(np.float64))
    )
    return StoredParts(
        face_model_sha256=model.sha256,
        head_vertices=head_vertices,
        mirror=mirror,
        quads=quads,
        corners={name: _chart_part(name, part, template) for name, part in quads.items()},
        lash_sheets=lash_sheets(template, number[head.lash_quads], lid_edges),
        mean=((mean + mirror_image(mean, mirror_others)) / 2).astype(np.float32),
        identity=identity,
        expression=expression,
        albedo_mean=albedo_mean.astype(np.float32),
        albedo=albedo,
        iris_mean=iris_mean,
        iris=iris,
    )


def identity_regression(model: LinearFaceModel, head: HeadData, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, 3) and basis (80, n, 3), mm, of the head vertices `others` over the model's sampled heads."""
    generator, rng = HeadGenerator(head), np.random.default_rng(open_face.HEAD_SEED)
    identities = [generator.sample_identity(rng) for _ in range(open_face.HEADS)]
    skin = head.face_vertices[head.face_is_skin]
    image = head.mirror[others]
    moments, products, total = 0.0, 0.0, 0.0
    signs = model.identity_signs.numpy()
    for k in range(0, open_face.HEADS, BATCH):
        heads = generator.unaligned(identities[k : k + BATCH])
        rotation, shift = rigid_alignment(heads[:, skin], head.face_mean[head.face_is_skin])
        heads = heads @ rotation.transpose(0, 2, 1) + shift[:, None]
        coefficients = model.project_identity(heads[:, head.face_vertices]).astype(np.float64)
        for values, part in (
            (coefficients, heads[:, others]),
            (coefficients * signs, heads[:, image] * [-1, 1, 1]),
        ):
            moments = moments + values.T @ values
            products = products + np.tensordot(values, part - head.template[others], ([0], [0]))
            total = total + (part - head.template[others]).sum(0)
    samples = 2 * open_face.HEADS
    basis = np.linalg.solve(moments, products.reshape(len(products), -1)).reshape(products.shape)
    return head.template[others] + total / samples, basis


def expression_regression(model: LinearFaceModel, head: HeadData, others: np.ndarray) -> np.ndarray:
    """Basis (64, n, 3), mm, of the head vertices `others` over random expressions as the model's were drawn.

    The tongue put out is left aside: no face vertex shows it, so the face's coefficients say nothing of it.
    """
    targets = np.concatenate([head.targets["expression"], head.targets["units"]]).astype(np.float64)
    names = head.names["expression"] + head.names["units"]
    rng = np.random.default_rng(open_face.EXPRESSION_SEED)
    weights = open_face.sample_expression_weights(head, open_face.EXPRESSIONS, rng)
    weights[:, names.index("tongueOut")] = 0
    weights = np.concatenate([weights, weights[:, open_face.expression_partners(head)]])
    coefficients = weights @ model.project_expression(targets[:, head.face_vertices]).astype(np.float64)
    mixing = np.linalg.lstsq(coefficients, weights, rcond=None)[0]
    return np.tensordot(mixing, targets[:, others], 1)


def albedo_regression(
    model: LinearFaceModel, head: HeadData, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Skin albedo of `others`, mean (n, 3) and basis (80, n, 3), and of the irises, (3,) and (80, 3); linear RGB.

    Skins as the model's were drawn; the coefficients of each are found by least squares on the model's basis at the
    vertices of the coarse mesh, which lead those of level 1.
    """
    face = cut_face(head)
    count = len(face.head_vertices)
    fine = subdivide(count, face.quads, face.mirror, 1)[1].operator[:count]
    points = np.concatenate([fine @ head.template[face.head_vertices].astype(np.float64), head.template[others]])
    ids = np.concatenate([face.head_vertices, others])
    masks = {name: np.clip(head.masks[name][ids], 0, 1) for name in ("lips", "ears", "eyelids")}
    generator, rng = HeadGenerator(head), np.random.default_rng(open_face.SKIN_SEED)
    colours = np.empty((open_face.SKINS, len(ids), 3), dtype=np.float32)
    irises = np.empty((open_face.SKINS, 3))
    eyes = [np.flatnonzero(face.part == side) for side in (1, 2)]
    for k in track(range(open_face.SKINS), "albedo samples", open_face.SKINS, "skins"):
        parameters = sample_skin(rng, generator.sample_identity(rng))
        colours[k] = skin_albedo(points, masks, parameters, rng)
        for eye in eyes:
            centre = eye_centre(points[eye])
            colours[k, eye] = eye_albedo(points[eye], centre, parameters.iris, softness=open_face.IRIS_SOFTNESS)
        irises[k] = parameters.iris
    importance = np.where(face.part == 0, 1.0, open_face.EYE_WEIGHT)[:, None]
    basis = (model.albedo_basis.numpy()[:, :count] * importance).reshape(len(model.albedo_basis), -1).astype(np.float64)
    offsets = (colours[:, :count] - model.albedo_mean.numpy()[:count]) * importance
    coefficients = np.linalg.solve(basis @ basis.T, basis @ offsets.reshape(len(offsets), -1).T).T
    values = np.concatenate([colours[:, count:].reshape(len(colours), -1), irises], axis=1)
    unknowns = np.concatenate([np.ones((len(colours), 1)), coefficients], axis=1)
    fit = np.linalg.lstsq(unknowns, values, rcond=None)[0]
    skin, iris = fit[:, :-3].reshape(len(fit), len(others), 3), fit[:, -3:]
    return skin[0], skin[1:], iris[0], iris[1:]


def _part_quads(head: HeadData, face_quads: np.ndarray, number: np.ndarray) -> dict[str, np.ndarray]:
    """Quads of the parts in the numbering of `number`; the part "head" is the skin without the face's."""
    face_keys = {tuple(quad) for quad in np.sort(face_quads, axis=1).tolist()}
    skin = head.quads["skin"]
    beside = np.array([tuple(quad) not in face_keys for quad in np.sort(skin, axis=1).tolist()])
    return {name: number[skin[beside] if name == "head" else head.quads[name]] for name in PARTS}


def _colour_inner_parts(
    mean: np.ndarray,
    basis: np.ndarray,
    template: np.ndarray,
    quads: dict[str, np.ndarray],
    lashes: np.ndarray,
    count: int,
) -> None:
    """Give teeth, tongue, mouth cavity and lashes their fixed colours in place: their basis is 0.

    The vertices that these share with the face, numbered below `count`, are the face model's.
    """
    front = template[np.unique(quads["teeth_upper"]), 2].max()
    for name, (colour, reach, scale, brightest) in MOUTH_COLOURS.items():
        inside = np.unique(quads[name])
        inside = inside[inside >= count]
        light = np.clip((template[inside, 2] - front + reach) / scale, DARKEST, brightest)
        mean[inside - count] = np.array(colour) * light[:, None]
    mean[lashes - count] = LASH_COLOUR
    skin = np.unique(np.concatenate([quads[name] for name in SKIN_PARTS]))
    basis[:, np.setdiff1d(np.arange(len(mean)), skin[skin >= count] - count)] = 0


def _chart_part(name: str, quads: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Texture coordinates (Q, 4, 2) of a part's quads in the atlas, patch by patch."""
    corner = template[quads]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    patches = {
        "tongue": {"top": normal[:, 1] > 0, "bottom": normal[:, 1] <= 0},
        "eye_sockets": {"left": corner[..., 0].mean(1) > 0, "right": corner[..., 0].mean(1) <= 0},
    }
    if name in ("eye_left", "eye_right"):
        patches[name] = {"front": normal[:, 2] > 0, "back": normal[:, 2] <= 0}
    if name not in patches:
        return chart_patch(template, quads, name)
    charts = np.zeros((len(quads), 4, 2))
    for label, chosen in patches[name].items():
        charts[chosen] = chart_patch(template, quads[chosen], f"{name}/{label}")
    return charts
