"""Heads of children: MakeHuman's baby and child in place of the adult phenotype."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facerecon.morphable.head import YOUNG_YEARS, HeadGenerator, HeadIdentity, rigid_alignment
from facerecon.synthesis.body_data import GROWING_YEARS, load_body_data

ADULT_YEARS = 20.0  # from here the adult targets are used as they are
CHILD_LOCAL = 0.95  # children's features differ by this factor of adults', in mm: more, for the size of their heads


def growing_share(age: float) -> float:
    """Share of the child's phenotype at an age in years, 1 at the child's and below, 0 for adults."""
    return float(np.clip((ADULT_YEARS - age) / (ADULT_YEARS - GROWING_YEARS[1]), 0.0, 1.0))


def neutral_head(
    generator: HeadGenerator, identity: HeadIdentity, stretch: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.float32]:
    """Neutral head (V, 3), mm, as `HeadGenerator.neutral` aligns it, at any age from 2 years.

    stretch: scaling of width and height, before the alignment.
    Between child and adult the phenotypes are mixed linearly; an adult of 20 has MakeHuman's "young" one (25 years).
    """
    share = growing_share(identity.age)
    if share == 0.0:
        head = generator.neutral(identity)
        return head if stretch == (1.0, 1.0) else _aligned(generator, head, stretch)
    data = load_body_data()
    grown = replace(identity, age=YOUNG_YEARS, local=CHILD_LOCAL**share * identity.local)
    plain = replace(grown, local=np.zeros_like(identity.local), asymmetry=np.zeros_like(identity.asymmetry))
    head, base = generator.unaligned([grown, plain])
    baby = float(np.clip((GROWING_YEARS[1] - identity.age) / (GROWING_YEARS[1] - GROWING_YEARS[0]), 0.0, 1.0))
    by_sex = np.array([1.0 - identity.sex, identity.sex], np.float32)
    ages = np.einsum("astij,a,s->tij", data.growing.transpose(1, 2, 0, 3, 4), identity.ancestry, by_sex)
    child = baby * ages[0] + (1.0 - baby) * ages[1]
    level = np.array([max(0.0, 1.0 - 2.0 * identity.weight), 0.0, max(0.0, 2.0 * identity.weight - 1.0)])
    child = child + np.einsum("wsij,w,s->ij", data.growing_weight, level, by_sex)
    head = head + share * (child - (base - generator.template))
    return _aligned(generator, head, stretch)


def _aligned(generator: HeadGenerator, head: NDArray, stretch: tuple[float, float]) -> NDArray[np.float32]:
    """The stretched head (V, 3), mm, moved rigidly onto the mean face over the face's skin."""
    head = head * np.array([*stretch, 1.0], np.float32)
    skin = generator.face_vertices[generator.face_is_skin]
    rotation, shift = rigid_alignment(head[None, skin], generator.face_mean[generator.face_is_skin])
    return (head @ rotation[0].T + shift[0]).astype(np.float32)
