"""What one person's hair is like: its colour, its hairline and how it is cut."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.morphable.head import HeadIdentity
from facerecon.synthesis.head_surface import HeadSurface
from facerecon.synthesis.randomness import chance

# Linear albedos from black to platinum, red and grey.
BLACK, DARK_BROWN, BROWN = (0.012, 0.010, 0.009), (0.030, 0.018, 0.012), (0.075, 0.042, 0.023)
LIGHT_BROWN, BLOND, PLATINUM = (0.16, 0.095, 0.052), (0.34, 0.23, 0.115), (0.55, 0.43, 0.27)
RED, AUBURN = (0.24, 0.075, 0.022), (0.105, 0.032, 0.014)
GREY = (0.42, 0.41, 0.40)
WHITE = (0.66, 0.65, 0.63)

KINDS = (
    "buzz",
    "crop",
    "fringe",
    "side",
    "swept",
    "curly",
    "afro",
    "bob",
    "long",
    "wavy",
    "ringlets",
    "ponytail",
    "bun",
    "braids",
)
BALDING_KINDS = ("buzz", "crop", "side", "swept", "curly")
MALE_ODDS = (0.12, 0.25, 0.14, 0.17, 0.12, 0.08, 0.04, 0.01, 0.02, 0.02, 0.01, 0.01, 0.01, 0.01)
FEMALE_ODDS = (0.01, 0.03, 0.05, 0.03, 0.03, 0.04, 0.04, 0.17, 0.22, 0.16, 0.07, 0.09, 0.06, 0.01)


@dataclass(frozen=True)
class HairStyle:
    """What one person's hair keeps from photograph to photograph; kind None is a bald or shaved head.

    colour: (3,) linear albedo of the pigmented strands. grey: share of hairs without pigment. seed: of the strands.
    length, sides: mm on top and at sides and back. lift: mm that the hair stands off the skin. parting: x, mm, on the
    template. crown, lateral, forward: how far the hair is combed away from the crown, away from the parting, to the
    front. fringe: mm of the hair over the forehead, 0 none. curl, pitch: mm, radius and period of curls. weight: pull
    of gravity, 1/mm. hold: how firmly hair follows the head, 1/mm^2. rise: share of the normal in the direction in
    which hair leaves the skin. clump: [0, 1] how far wisps close up. mess: mm that tips stray. hairline: mm that it
    lies higher than usual; recession: mm at the temples; balding: [0, 1] how much of the top is bare. opening: mm,
    half-width of the face that side hair leaves free. tucked: ears show. backward: pull of side hair to the back,
    1/mm. gathered: (3,) template point of a ponytail or bun, or None. stubble: opacity of the paint on the scalp.
    """

    kind: str | None
    colour: NDArray[np.float32]
    grey: float = 0.0
    seed: int = 0
    length: float = 60.0
    sides: float = 40.0
    lift: float = 8.0
    parting: float = 20.0
    crown: float = 1.0
    lateral: float = 0.0
    forward: float = 0.0
    fringe: float = 0.0
    curl: float = 0.0
    pitch: float = 40.0
    weight: float = 0.008
    hold: float = 0.003
    rise: float = 0.3
    clump: float = 0.5
    mess: float = 3.0
    hairline: float = 0.0
    recession: float = 0.0
    balding: float = 0.0
    opening: float = 62.0
    tucked: bool = True
    backward: float = 0.004
    gathered: NDArray[np.float32] | None = None
    stubble: float = 0.9


def mixed_colours(
    rng: Generator, colour: NDArray, grey: float, count: int, spread: float = 0.16
) -> NDArray[np.float32]:
    """(count, 3) albedos of single strands: a person's colour, lighter and darker, with grey ones among them."""
    tone = np.exp(rng.normal(0.0, spread, (count, 1))) * np.exp(rng.normal(0.0, 0.05, (count, 3)) * [-1.0, 0.0, 1.0])
    pale = np.clip(grey + rng.normal(0.0, 0.25 * np.sqrt(grey * (1.0 - grey)), (count, 1)), 0.0, 1.0)  # many hairs each
    white = np.asarray(GREY) + rng.random((count, 1)) * (np.asarray(WHITE) - GREY)
    return np.clip(colour * tone + (white - colour * tone) * pale**1.3, 0.004, 0.85).astype(np.float32)


def sample_hair_colour(rng: Generator, identity: HeadIdentity) -> tuple[NDArray[np.float32], float]:
    """Albedo (3,) and share of grey strands: dark unless of European ancestry, grey by age, dyed at times."""
    european = identity.ancestry[2] / identity.ancestry.sum()
    if chance(rng, 0.25 + 0.75 * (1.0 - european)):
        colour = np.array(BLACK if chance(rng, 0.55) else DARK_BROWN)
    else:
        shades = np.array([DARK_BROWN, BROWN, LIGHT_BROWN, BLOND, PLATINUM, RED, AUBURN])
        odds = np.array([0.2, 0.24, 0.2, 0.17, 0.04, 0.07, 0.08])
        pair = rng.choice(len(shades), 1, p=odds)[0]
        other = shades[max(pair - 1, 0)] if pair < 5 else shades[pair]
        colour = shades[pair] + (other - shades[pair]) * rng.uniform(0.0, 0.7)
    colour = colour * rng.lognormal(0.0, 0.18)
    grey = np.clip((identity.age - 42.0) / 38.0 + rng.normal(0.0, 0.22), 0.0, 1.0) ** 1.5
    if identity.sex < 0.5 and chance(rng, 0.6):
        grey *= 0.2  # coloured over
    if identity.age < 30:
        grey = 0.0
    if chance(rng, 0.12) and identity.age > 15:  # bleached or tinted within natural colours
        colour = np.array([LIGHT_BROWN, BLOND, PLATINUM, RED, AUBURN][rng.integers(5)]) * rng.lognormal(0.0, 0.15)
    elif chance(rng, 0.02):
        colour = rng.uniform(0.03, 0.45, 3)
        grey = 0.0
    return np.clip(colour, 0.006, 0.7).astype(np.float32), float(grey)


def sample_hair_style(rng: Generator, identity: HeadIdentity) -> HairStyle:
    """A colour and cut typical of sex, age and ancestry; every style occurs with everybody."""
    colour, grey = sample_hair_colour(rng, identity)
    male, age = identity.sex > 0.5, identity.age
    odds = np.array(MALE_ODDS if male else FEMALE_ODDS)
    african, asian = identity.ancestry[:2] / identity.ancestry.sum()
    frizzy = chance(rng, 0.75 * african)
    if frizzy:
        odds = odds * [3.0, 1.5, 0.2, 0.3, 0.2, 4.0, 9.0, 0.5, 0.3, 0.7, 3.0, 1.0, 2.0, 10.0]
    elif asian > 0.6:
        odds = odds * [1.0, 1.5, 1.5, 1.0, 1.0, 0.3, 0.0, 1.0, 1.3, 0.7, 0.2, 1.0, 1.0, 0.3]
    if age > 60 and not male:
        odds = odds * [1, 2, 1.5, 2, 3, 4, 1, 1.5, 0.3, 0.4, 0.3, 0.7, 1, 0.3]
    kind = KINDS[rng.choice(len(KINDS), p=odds / odds.sum())]
    style = HairStyle(kind, colour, grey, int(rng.integers(1 << 31)))
    habits = {
        "parting": float(
            rng.choice([-1.0, 1.0]) * rng.uniform(8.0, 42.0) if chance(rng, 0.7) else rng.normal(0.0, 4.0)
        ),
        "hairline": float(rng.normal(0.0, 4.0)),
        "recession": float(abs(rng.normal(0.0, 5.0))),
        "mess": float(rng.uniform(1.0, 5.0)),
        "clump": float(rng.uniform(0.2, 0.85)),
        "tucked": chance(rng, 0.5),
        "opening": float(rng.uniform(48.0, 76.0)),
        "backward": float(rng.uniform(0.001, 0.008)),
    }
    style = replace(style, **(habits | _cut(rng, kind)))
    if frizzy and style.curl == 0.0 and kind not in ("buzz", "ponytail", "bun", "braids"):
        style = replace(style, curl=rng.uniform(1.0, 2.5), pitch=rng.uniform(9.0, 14.0))
    if male and age > 25 and chance(rng, min((age - 20.0) / 100.0, 0.5)):
        style = replace(style, recession=rng.uniform(6.0, 24.0), hairline=rng.uniform(0.0, 9.0))
        if kind in BALDING_KINDS and chance(rng, 0.55):
            style = replace(
                style,
                balding=rng.uniform(0.2, 1.0),
                fringe=0.0,
                length=min(style.length, rng.uniform(10.0, 40.0)),
                sides=min(style.sides, rng.uniform(5.0, 40.0)),
            )
    if chance(rng, 0.10 if male else 0.004):
        kind_or_none = None if style.balding > 0.2 or chance(rng, 0.5) else "buzz"
        style = replace(style, kind=kind_or_none, **(_cut(rng, "buzz") | {"stubble": rng.uniform(0.0, 0.5)}))
    return style


def _cut(rng: Generator, kind: str) -> dict[str, Any]:
    """Fields of HairStyle that make a kind of cut."""
    u = rng.uniform
    if kind == "buzz":
        length = u(2.0, 9.0)
        return {
            "length": length,
            "sides": length * u(0.4, 1.0),
            "lift": length,
            "rise": 0.75,
            "weight": 0.0,
            "clump": 0.1,
            "mess": 0.5,
            "stubble": u(0.6, 0.9),
            "forward": 0.5,
        }
    if kind == "crop":
        return {
            "length": u(18.0, 45.0),
            "sides": u(5.0, 25.0),
            "lift": u(4.0, 14.0),
            "rise": u(0.35, 0.65),
            "weight": 0.004,
            "forward": u(-0.2, 0.8),
            "lateral": u(0.0, 0.5),
            "fringe": u(15.0, 40.0) if chance(rng, 0.5) else 0.0,
            "clump": u(0.1, 0.5),
        }
    if kind == "fringe":
        return {
            "length": u(70.0, 110.0),
            "sides": u(40.0, 75.0),
            "lift": u(5.0, 14.0),
            "fringe": u(45.0, 85.0),
            "weight": u(0.008, 0.02),
            "rise": 0.3,
            "tucked": chance(rng, 0.4),
        }
    if kind == "side":
        return {
            "length": u(60.0, 120.0),
            "sides": u(10.0, 50.0),
            "lift": u(5.0, 16.0),
            "crown": 0.3,
            "lateral": u(0.8, 1.4),
            "forward": u(-0.3, 0.6),
            "weight": u(0.004, 0.010),
            "rise": u(0.3, 0.5),
        }
    if kind == "swept":
        return {
            "length": u(60.0, 130.0),
            "sides": u(10.0, 70.0),
            "lift": u(5.0, 22.0),
            "crown": 0.0,
            "lateral": u(0.0, 0.3),
            "forward": -1.0,
            "weight": 0.003,
            "rise": u(0.35, 0.7),
        }
    if kind == "curly":
        return {
            "length": u(45.0, 110.0),
            "sides": u(20.0, 80.0),
            "lift": u(8.0, 28.0),
            "hold": 0.001,
            "fringe": u(30.0, 60.0) * chance(rng, 0.5),
            "weight": u(0.004, 0.012),
            "rise": 0.6,
            "curl": u(3.0, 8.0),
            "pitch": u(16.0, 32.0),
            "clump": u(0.5, 0.9),
            "tucked": chance(rng, 0.3),
        }
    if kind == "afro":
        return {
            "length": u(18.0, 70.0),
            "sides": u(15.0, 60.0),
            "lift": u(8.0, 20.0),
            "hold": 0.0,
            "rise": 0.95,
            "weight": 0.0,
            "curl": u(2.0, 4.0),
            "pitch": u(8.0, 13.0),
            "clump": 0.1,
            "mess": u(1.5, 4.0),
        }
    if kind in ("ponytail", "bun"):
        high = np.array([0.0, u(20.0, 150.0), 0.0])
        high[2] = -178.0 + 0.0045 * max(high[1] - 50.0, 0.0) ** 2
        return {
            "length": u(120.0, 300.0),
            "sides": 0.0,
            "lift": u(2.0, 8.0),
            "rise": 0.1,
            "weight": 0.0,
            "clump": 0.2,
            "mess": u(0.5, 2.5),
            "gathered": high.astype(np.float32),
            "tucked": True,
            "fringe": u(45.0, 70.0) if chance(rng, 0.3) else 0.0,
            "pitch": 60.0,
        }
    if kind == "braids":
        return {
            "length": u(120.0, 380.0),
            "sides": u(110.0, 340.0),
            "lift": u(3.0, 10.0),
            "crown": u(0.2, 1.0),
            "lateral": 0.5,
            "forward": u(-1.0, 0.2),
            "rise": 0.5,
            "weight": u(0.012, 0.025),
            "clump": 0.9,
            "mess": 0.5,
            "curl": 1.2,
            "pitch": 25.0,
            "opening": u(50.0, 74.0),
            "backward": u(0.002, 0.008),
        }
    bob = kind == "bob"
    wild = {"wavy": 1, "ringlets": 2}.get(kind, 0)
    return {
        "length": u(150.0, 230.0) if bob else u(220.0, 420.0 - 50.0 * wild),
        "sides": u(95.0, 150.0) if bob else u(190.0, 380.0 - 50.0 * wild),
        "lift": u(4.0, 18.0) + 5.0 * wild,
        "crown": 0.15,
        "lateral": 1.0,
        "forward": u(-0.5, 0.35),
        "rise": u(0.3, 0.5),
        "weight": u(0.012, 0.025),
        "fringe": u(50.0, 85.0) if chance(rng, 0.3) else 0.0,
        "curl": (0.0, u(4.0, 9.0), u(6.0, 11.0))[wild],
        "pitch": (60.0, u(60.0, 110.0), u(30.0, 50.0))[wild],
        "opening": u(34.0, 74.0),
        "tucked": chance(rng, 0.35),
        "clump": u(0.3, 0.9),
    }


def growth(template: NDArray, style: HairStyle) -> NDArray[np.float32]:
    """(N,) in [0, 1]: how densely scalp hair grows at template points (N, 3), mm."""
    x, y, z = np.abs(template[:, 0]), template[:, 1], template[:, 2]
    temple = np.exp(-0.5 * ((x - 40.0) / 13.0) ** 2)
    line = 104.0 + style.hairline - 0.010 * x**2 + style.recession * temple
    front = step((y - line) / 2.2)
    # Temples, sideburns before the ears, the side above them, and the back down to the nape.
    temples = step((-50.0 - z + 0.35 * (y - 50.0) - 0.6 * style.recession) / 3.0) * step((y - 18.0) / 3.0)
    back = step((-100.0 - z) / 5.0) * step((y + 22.0) / 4.0)
    dense = np.clip(front + temples * step((x - 55.0) / 3.0) + back, 0.0, 1.0)
    if style.balding > 0.0:
        bare_front = step((y - 110.0 + 14.0 * style.balding) / 7.0) * step((z + 60.0 + 110.0 * style.balding) / 14.0)
        away = np.sqrt(x**2 + (z + 120.0) ** 2)
        bare_crown = step((75.0 * style.balding - 15.0 - away) / 12.0) * step((y - 75.0) / 8.0)
        dense = dense * (1.0 - np.clip(1.2 * bare_front + bare_crown, 0.0, 0.97))
    return dense.astype(np.float32)


def scalp_paint(surface: HeadSurface, style: HairStyle) -> NDArray[np.float32]:
    """(V,) opacity of hair-coloured paint on the scalp: roots seen between the strands, or a shaved head's stubble."""
    paint = np.zeros(len(surface.template), np.float32)
    region = np.flatnonzero((surface.template[:, 1] > -40.0) & surface.is_part("skin"))
    off_ears = 1.0 - np.clip(4.0 * surface.masks["ears"][region], 0.0, 1.0)
    paint[region] = growth(surface.template[region], style) * off_ears * style.stubble
    return paint


def step(value: NDArray) -> NDArray:
    """Logistic step from 0 to 1 about 0."""
    return 1.0 / (1.0 + np.exp(-np.clip(value, -30.0, 30.0)))
