"""One synthetic person: the shape, skin, eyes and hair that all photographs of a subject share."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.morphable.head import HeadIdentity
from facerecon.morphable.skin import brow_map, sample_skin, skin_albedo, smooth_noise
from facerecon.synthesis.head_surface import CLASS, HeadSurface, paint_eyes_and_mouth
from facerecon.synthesis.randomness import chance
from facerecon.synthesis.shapes import HairStyle, sample_hair_style


@dataclass(frozen=True)
class Person:
    """neutral: (C, 3) coarse head without expression, mm. displacement: (V, 3) fine offsets of the photographed
    surface, or None. colours: (V, 3) linear skin, eye and mouth colours. triangle_class: (F,) parsing classes with this
    person's brows and painted hair. gloss: (V,) strength of the skin's highlight."""

    identity: HeadIdentity
    neutral: NDArray[np.float32]
    displacement: NDArray[np.float32] | None
    colours: NDArray[np.float32]
    triangle_class: NDArray[np.uint8]
    gloss: NDArray[np.float32]
    skin_colour: NDArray[np.float32]
    melanin: float
    hair: HairStyle


def sample_person(
    rng: Generator, surface: HeadSurface, stretch: float = 0.03, displacement: float = 0.0, detail: bool = True
) -> Person:
    """Draw a person.

    stretch: standard deviation of a random scaling of width and height beyond the head's own variation.
    displacement: RMS of a smooth asymmetric deformation drawn apart from the face model's prior, mm.
    """
    identity = surface.generator.sample_identity(rng)
    neutral = surface.generator.neutral(identity).astype(np.float32)
    neutral = neutral * np.array([rng.normal(1.0, stretch), rng.normal(1.0, stretch), 1.0], np.float32)
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
    colours = np.zeros((len(surface.template), 3), np.float32)
    is_skin = surface.is_part("skin", "eye_sockets")
    points = surface.template[is_skin]
    masks = {name: mask[is_skin] for name, mask in surface.masks.items()}
    colours[is_skin] = skin_albedo(points, masks, parameters, rng, detail=detail)
    skin_colour = np.median(colours[is_skin], 0)
    hair = sample_hair_style(rng, parameters.hair, male=identity.sex > 0.5)
    if hair.kind is not None or chance(rng, 0.5):  # painted roots below the shell; a shaved head shows its stubble
        cover = surface.scalp * (0.93 if hair.kind is not None else rng.uniform(0.1, 0.6))
        colours = colours * (1.0 - cover[:, None]) + hair.colour * cover[:, None]
    if chance(rng, 0.25):  # eye make-up or tired eyes
        colours *= _eye_shadow(rng, surface)[:, None]
    paint_eyes_and_mouth(surface, colours, parameters.iris, rng.normal(0.0, 0.12, 2))

    triangle_class = surface.triangle_class.copy()
    centre = surface.template[surface.triangles].mean(1)
    brows = parameters.brow * brow_map(centre, parameters.brow_arch, parameters.brow_width) > 0.35
    paintable = np.isin(triangle_class, [CLASS["skin"], CLASS["nose"]])
    triangle_class[brows & paintable & (centre[:, 0] > 0)] = CLASS["l_brow"]
    triangle_class[brows & paintable & (centre[:, 0] < 0)] = CLASS["r_brow"]
    if hair.kind is not None:
        covered = surface.scalp[surface.triangles].mean(1) > 0.5
        triangle_class[covered & np.isin(triangle_class, [CLASS["skin"], CLASS["neck"]])] = CLASS["hair"]
    gloss = np.full(len(surface.template), rng.uniform(0.0, 0.12), np.float32)
    gloss *= 1.0 + surface.masks["lips"] * rng.uniform(0.0, 2.0)
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
    )


def _eye_shadow(rng: Generator, surface: HeadSurface) -> NDArray[np.float32]:
    eyes = surface.template[surface.is_part("eye_left")].mean(0)
    x, y, z = surface.template.T
    spread = ((np.abs(x) - eyes[0]) / rng.uniform(10.0, 16.0)) ** 2
    spread += ((y - eyes[1] - rng.uniform(-3.0, 6.0)) / rng.uniform(6.0, 11.0)) ** 2
    shadow = rng.uniform(0.2, 0.7) * np.exp(-0.5 * spread) * (z > eyes[2] - 25.0)
    return (1.0 - shadow).astype(np.float32)
