"""Looks of eyes, lashes, teeth and lips, and where a person looks."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.randomness import chance
from facerecon.synthesis.shading_kernels import LOWER, UPPER

if TYPE_CHECKING:
    from facerecon.synthesis.head_surface import HeadSurface

# Linear colours of what lies inside the mouth.
MOUTH_CAVITY = np.array([0.34, 0.11, 0.10], np.float32)
TEETH = np.array([0.78, 0.71, 0.58], np.float32)
TONGUE = np.array([0.40, 0.15, 0.14], np.float32)
GUMS_ABOVE = 9.5  # mm from the biting edge to the gums

GAZE_LIMIT = 0.55  # tangent: beyond about 29 degrees people turn the head


@dataclass(frozen=True)
class EyeAndMouthLook:
    """What a person's eyes and mouth keep from photograph to photograph.

    iris, sclera: (3,) linear. pupil: radius over the iris' radius. redness, limbus, fibres, lashes, lip_gloss:
    strengths, 0 none. phase: rad, tells irises apart. tooth_size: factor on the teeth's widths. gum_line: mm from the
    biting edge. gaze: (2,) horizontal and vertical tangent in the head frame where a photograph gives none.
    """

    iris: NDArray[np.float32]
    sclera: NDArray[np.float32]
    pupil: float
    redness: float
    limbus: float
    fibres: float
    phase: float
    lashes: float
    lip_gloss: float
    tooth_size: float
    gum_line: float
    gaze: NDArray[np.float32]

    def looking(self, gaze: NDArray) -> "EyeAndMouthLook":
        """The same look with another gaze (2,)."""
        return replace(self, gaze=np.asarray(gaze, np.float32))

    def parameters(self) -> NDArray[np.float32]:
        """(21,) for `shading_kernels.shade_pixels`: unit gaze, sclera from 5, redness, pupil, limbus, phase at 12,
        fibres, lip gloss, lashes, iris from 16, tooth size, gum line; 0 elsewhere."""
        gaze = np.array([*self.gaze, 1.0])
        return np.array(
            [*(gaze / np.linalg.norm(gaze)), 0.0, 0.0, *self.sclera, self.redness, self.pupil, self.limbus, 0.0,
             self.phase, self.fibres, self.lip_gloss, self.lashes, *self.iris, self.tooth_size, self.gum_line],
            np.float32,
        )  # fmt: skip


def sample_eye_and_mouth_look(rng: Generator, iris: NDArray, age: float, male: bool) -> EyeAndMouthLook:
    """Eyes, lashes and teeth; sclera and limbal ring fade with age, women wear mascara and lip gloss at times.

    iris: (3,) linear. age: years.
    """
    years = np.clip(age / 80.0, 0.0, 1.0)
    sclera = np.array([0.54, 0.50, 0.47]) * rng.uniform(0.8, 1.1) * (1.0 - years * np.array([0.08, 0.12, 0.22]))
    iris = np.asarray(iris, float)
    iris = 0.8 * iris + 0.25 * iris.mean()  # fibres before a dark ground take colour away
    made_up = not male and age > 14.0 and chance(rng, 0.4)
    return EyeAndMouthLook(
        iris=iris.astype(np.float32),
        sclera=sclera.astype(np.float32),
        pupil=float(rng.uniform(0.26, 0.5) * (1.0 - 0.25 * years)),
        redness=float(abs(rng.normal(0.05, 0.16))),
        limbus=float(rng.uniform(0.35, 0.85) * (1.0 - 0.5 * years)),
        fibres=float(rng.uniform(0.1, 0.35)),
        phase=float(rng.uniform(0.0, 6.28)),
        lashes=float(rng.uniform(0.75, 1.0) if made_up else rng.uniform(0.35, 0.8) * (1.0 - 0.4 * years)),
        lip_gloss=float(rng.uniform(0.5, 1.6) if made_up else rng.uniform(0.1, 0.6)),
        tooth_size=float(rng.uniform(0.92, 1.08)),
        gum_line=float(GUMS_ABOVE + rng.normal(0.0, 0.8)),
        gaze=rng.normal(0.0, 0.12, 2).astype(np.float32),
    )


def sample_gaze(rng: Generator, rotation: NDArray) -> NDArray[np.float32]:
    """(2,) tangents of the looking direction in the head frame: into the camera (half of the time, where the head's
    turn allows it), near straight ahead, or aside. rotation: (3, 3) head to view frame."""
    toward = np.asarray(rotation, float).T @ np.array([0.0, 0.0, 1.0])
    kind = rng.random()
    if kind < 0.55 and toward[2] > 0.5:
        gaze = toward[:2] / toward[2] + rng.normal(0.0, 0.03, 2)
    elif kind < 0.85:
        gaze = rng.normal(0.0, [0.12, 0.07])
    else:
        gaze = rng.normal([0.0, -0.06], [0.32, 0.12])
    return (gaze * min(1.0, GAZE_LIMIT / max(float(np.linalg.norm(gaze)), 1e-6))).astype(np.float32)


def paint_mouth(surface: "HeadSurface", colours: NDArray, rng: Generator) -> None:
    """Colour teeth, tongue and mouth cavity in place; teeth from bleached to stained. colours: (V, 3) linear."""
    template, generator = surface.template, surface.generator
    front = generator.template[np.unique(generator.quads["teeth_upper"])][:, 2].max()
    depth = template[:, 2:3]
    stain = rng.uniform(0.0, 1.0) ** 2
    teeth = TEETH * rng.uniform(0.8, 1.15) * (1.0 - stain * np.array([0.05, 0.15, 0.40]))
    flush = rng.uniform(0.8, 1.2, 3)
    for names, colour, reach, scale, darkest, brightest in (
        (("mouth_cavity",), MOUTH_CAVITY * flush, 60.0, 75.0, 0.15, 0.75),
        (("teeth_upper", "teeth_lower"), teeth, 50.0, 50.0, 0.3, 1.0),
        (("tongue",), TONGUE * flush, 58.0, 55.0, 0.3, 0.9),
    ):
        inside = surface.is_part(*names)
        colours[inside] = colour * np.clip((depth[inside] - front + reach) / scale, darkest, brightest)


def tooth_places(template: NDArray, upper: NDArray, lower: NDArray) -> NDArray[np.float32]:
    """(V, 3) for the kernel: arc along the teeth and height above the biting edge in mm, and UPPER, LOWER or 0.

    template: (V, 3) mm. upper, lower: (V,) bool, vertices of either row.
    """
    places = np.zeros((len(template), 3), np.float32)
    for row, kind in ((upper, UPPER), (lower, LOWER)):
        x, y, z = template[row].T
        centre = z.max() - 0.5 * np.ptp(x) - 3.0
        radius = z.max() - centre
        places[row, 0] = radius * np.arctan2(x, z - centre)
        places[row, 1] = y - y.min() if kind == UPPER else y.max() - y
        places[row, 2] = kind
    return places
