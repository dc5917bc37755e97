"""Groups that errors are broken down by: skin tone, sex, age, pose, occlusion, light, things worn."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from facerecon.geometry.spherical_harmonics import SH_CONSTANTS

ALL = "all"
_MELANIN = (0.26, 0.53, 1.17)  # quarters of the generated population
_AGE = (18.0, 40.0, 60.0)
_YAW = (15.0, 30.0, 60.0)  # degrees, of 90 at most
_PITCH = (15.0, 30.0, 40.0)  # degrees, of 50 at most
_OCCLUSION = (0.02, 0.15)
_CONTRAST = (0.35, 0.7)
_SHARE = (0.25, 0.5)
_FACE_SIDE = (24.0, 40.0, 64.0)


def groups_of(attributes: Mapping[str, NDArray]) -> dict[str, NDArray[np.str_]]:
    """Group name -> (N,) part that each of N photographs belongs to; groups whose attributes are absent are left out.

    attributes: columns of the ground truth (docs/synthetic_photographs.md), (N, ...). `light` is how strongly the light
    comes from one side: the amplitude of the irradiance's first band over its mean; `key_light` is as stored.
    """
    groups: dict[str, NDArray[np.str_]] = {}
    if "melanin" in attributes:
        groups["melanin"] = binned(attributes["melanin"], _MELANIN)
    if "sex" in attributes:
        groups["sex"] = np.where(attributes["sex"] >= 0.5, "male", "female")
    if "age" in attributes:
        groups["age"] = binned(attributes["age"], _AGE)
    if "rotation" in attributes:
        degrees = np.abs(np.degrees(attributes["rotation"]))
        groups["yaw"] = binned(degrees[:, 1], _YAW)
        groups["pitch"] = binned(degrees[:, 0], _PITCH)
    if "occlusion" in attributes:
        groups["occlusion"] = binned(attributes["occlusion"], _OCCLUSION)
    elif "occluded" in attributes:
        groups["occlusion"] = _yes_or_no(attributes["occluded"])
    if "light" in attributes:
        groups["light"] = binned(light_contrast(attributes["light"]), _CONTRAST)
    if "key_light" in attributes:
        groups["key_light"] = binned(attributes["key_light"], _SHARE)
    for name in ("glasses", "dark_glasses", "hat", "hands", "mask"):
        if name in attributes and attributes[name].ndim == 1:
            groups[name] = _yes_or_no(attributes[name])
    return groups


def face_side_groups(sides: NDArray) -> NDArray[np.str_]:
    """Parts (N,) by the longer side of faces' boxes, pixels."""
    return binned(sides, _FACE_SIDE)


def binned(values: NDArray, edges: tuple[float, ...]) -> NDArray[np.str_]:
    """Names (N,) of the bins of values (N,): below the first edge, between two (the lower one included), and above."""
    inner = [f"{low:g}-{high:g}" for low, high in pairwise(edges)]
    names = np.array([f"<{edges[0]:g}", *inner, f">={edges[-1]:g}"])
    return names[np.searchsorted(edges, values, "right")]


def light_contrast(light: NDArray) -> NDArray[np.float64]:
    """(N,) amplitude of the first band of SH irradiance (N, 9, 3) over its mean; 0 for light from everywhere."""
    gray = np.asarray(light, np.float64).mean(2)
    first = np.linalg.norm(gray[:, 1:4], axis=1) * SH_CONSTANTS[1]
    return first / np.maximum(np.abs(gray[:, 0]) * SH_CONSTANTS[0], 1e-9)


def part_order(part: str) -> tuple[float, str]:
    """Sorts the parts of a group: bins by where they begin, `<` first; words by the alphabet."""
    if part.startswith("<"):
        return -1.0, part
    number = part.removeprefix(">=").split("-")[0]
    return (float(number), part) if number.replace(".", "", 1).isdigit() else (0.0, part)


def _yes_or_no(values: NDArray) -> NDArray[np.str_]:
    return np.where(np.asarray(values).astype(bool), "yes", "no")
