"""One synthetic person: the shape, skin, eyes and hair that all photographs of a subject share."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.morphable.head import HeadIdentity
from facerecon.morphable.skin import SkinParameters, brow_map, sample_skin, smooth_noise
from facerecon.synthesis.beards import FacialHair, facial_hair_paint, sample_facial_hair
from facerecon.synthesis.bust import person_bust
from facerecon.synthesis.eyes_and_mouth import EyeAndMouthLook, paint_mouth, sample_eye_and_mouth_look
from facerecon.synthesis.growth import neutral_head
from facerecon.synthesis.hair_styles import HairStyle, sample_hair_style, scalp_paint
from facerecon.synthesis.head_surface import CLASS, HeadSurface
from facerecon.synthesis.population import even_melanin, sample_identity
from facerecon.synthesis.skin_detail import SkinDetail, paint_skin, sample_skin_detail, skin_gloss


@dataclass(frozen=True)
class Person:
    """What a person's photographs share. Colours are linear, in [0, 1].

    identity: of the head and its skull, sex and age. neutral: (C, 3) coarse head without expression, mm. displacement:
    (V, 3) fine offsets of the photographed surface, mm, or None. colours: (V, 3) of skin, eyes and mouth.
    triangle_class: (F,) parsing classes with this person's brows and painted hair. gloss: (V,) strength of the skin's
    highlight, 1 usual. skin_colour: (3,) median of the face's. melanin: of the skin, as in `SkinParameters`. hair,
    facial_hair, eyes: how these look. bust: (Cb, 3) coarse neck and shoulders, mm. neck_colour: (3,) where the head
    ends. detail: fine relief and spots of the skin.
    """

    identity: HeadIdentity
    neutral: NDArray[np.float32]
    displacement: NDArray[np.float32] | None
    colours: NDArray[np.float32]
    triangle_class: NDArray[np.uint8]
    gloss: NDArray[np.float32]
    skin_colour: NDArray[np.float32]
    melanin: float
    hair: HairStyle
    facial_hair: FacialHair
    bust: NDArray[np.float32]
    neck_colour: NDArray[np.float32]
    detail: SkinDetail
    eyes: EyeAndMouthLook


def sample_person(rng: Generator, surface: HeadSurface, stretch: float = 0.03, displacement: float = 0.0) -> Person:
    """Draw a person.

    stretch: standard deviation of a random scaling of width and height beyond the head's own variation.
    displacement: RMS of a smooth asymmetric deformation drawn apart from the face model's prior, mm.
    """
    identity = sample_identity(rng, surface.generator)
    neutral = neutral_head(surface.generator, identity, (rng.normal(1.0, stretch), rng.normal(1.0, stretch)))
    offsets = None
    if displacement > 0.0:
        offsets = np.stack(
            [
                0.8 * smooth_noise(surface.template, 28.0, rng) + 0.6 * smooth_noise(surface.template, 11.0, rng)
                for _ in range(3)
            ],
            1,
        )
        offsets = (offsets * displacement / np.sqrt(3.0)).astype(np.float32)
    parameters = sample_skin(rng, identity)
    parameters = replace(parameters, melanin=even_melanin(parameters.melanin))
    hair = sample_hair_style(rng, identity)
    facial_hair = sample_facial_hair(rng, identity, hair, parameters)
    # Strands are drawn over the skin; of brows and beard the skin itself shows only what lies under them.
    parameters = replace(parameters, hair=facial_hair.colour, brow=0.4 * parameters.brow, beard=0.0)
    male = identity.sex > 0.5
    colours = paint_skin(rng, surface, parameters, identity.age, male)
    skin_colour = np.median(colours[surface.is_part("skin")][::16], 0)
    roots, beard = scalp_paint(surface, hair)[:, None], facial_hair_paint(surface, facial_hair)[:, None]
    colours = colours * (1.0 - beard) + facial_hair.colour * beard
    colours = colours * (1.0 - roots) + hair.colour * roots
    paint_mouth(surface, colours, rng)
    eyes = sample_eye_and_mouth_look(rng, parameters.iris, identity.age, male)
    skin_detail = sample_skin_detail(rng, parameters, identity.age, male)

    triangle_class = _classes(surface, facial_hair, parameters, roots[:, 0] if hair.kind is not None else None)
    gloss = skin_gloss(rng, surface, identity.age) * (1.0 - roots[:, 0])
    return Person(
        identity,
        neutral,
        offsets,
        np.clip(colours, 0.004, 0.95).astype(np.float32),
        triangle_class,
        gloss.astype(np.float32),
        skin_colour.astype(np.float32),
        float(parameters.melanin),
        hair,
        facial_hair,
        bust=person_bust(identity),
        neck_colour=_neck_colour(surface, colours),
        detail=skin_detail,
        eyes=eyes,
    )


def _classes(
    surface: HeadSurface, facial_hair: FacialHair, parameters: SkinParameters, roots: NDArray | None
) -> NDArray[np.uint8]:
    """(F,) parsing classes with brows and, where roots (V,) cover the scalp, painted hair."""
    triangle_class = surface.triangle_class.copy()
    at = surface.brow_triangles
    centre = surface.triangle_centre[at]
    brows = facial_hair.brow * brow_map(centre, parameters.brow_arch, parameters.brow_width) > 0.35
    brows &= np.isin(triangle_class[at], [CLASS["skin"], CLASS["nose"]])
    triangle_class[at[brows & (centre[:, 0] > 0)]] = CLASS["l_brow"]
    triangle_class[at[brows & (centre[:, 0] < 0)]] = CLASS["r_brow"]
    if roots is not None:
        bare = (triangle_class == CLASS["skin"]) | (triangle_class == CLASS["neck"])
        triangle_class[bare & (surface.triangle_mean(roots) > 0.4)] = CLASS["hair"]
    return triangle_class


def _neck_colour(surface: HeadSurface, colours: NDArray) -> NDArray[np.float32]:
    """(3,) mean colour of the skin near the rim where the head ends."""
    skin = surface.is_part("skin")
    low = skin & (surface.template[:, 1] < surface.template[skin, 1].min() + 16.0)
    return colours[low].mean(0).astype(np.float32)
