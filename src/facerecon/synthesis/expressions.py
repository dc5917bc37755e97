"""Random facial expressions as weights of the 52 ARKit names.

An expression is a feeling (with the eyes and cheeks that go with it), at times speech, a state of the lids, and faint
single actions. Everything is a little stronger on one side of the face.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.randomness import chance

Range = tuple[float, float]


@dataclass(frozen=True)
class Feeling:
    """Co-occurring actions of one common expression.

    share: relative frequency. actions: name (without its side where it has sides) -> range of the weight at full
    intensity. jaw: range of jawOpen at full intensity. bias: how the intensity is distributed, the exponent of a
    uniform number: 1 even, 2 mostly faint.
    """

    share: float
    actions: dict[str, Range]
    jaw: Range = (0.0, 0.0)
    bias: float = 1.0


FEELINGS: tuple[Feeling, ...] = (
    # At rest: lips and brows that are never quite neutral.
    Feeling(0.22, {"mouthPress": (0.0, 0.3), "mouthFrown": (0.0, 0.25), "browInnerUp": (0.0, 0.2)}, (0.0, 0.06)),
    # Closed smile; the cheeks rise and narrow the eyes (Duchenne).
    Feeling(
        0.16,
        {"mouthSmile": (0.5, 1.1), "cheekSquint": (0.1, 0.6), "eyeSquint": (0.0, 0.25), "mouthDimple": (0.0, 0.5)},
        bias=0.6,
    ),
    # Smile that shows the upper teeth.
    Feeling(
        0.22,
        {
            "mouthSmile": (0.8, 1.2),
            "mouthUpperUp": (0.3, 0.7),
            "mouthLowerDown": (0.0, 0.35),
            "cheekSquint": (0.2, 0.8),
            "eyeSquint": (0.0, 0.35),
            "mouthStretch": (0.0, 0.4),
        },
        (0.03, 0.2),
        bias=0.4,
    ),
    # Laughter.
    Feeling(
        0.08,
        {
            "mouthSmile": (0.8, 1.2),
            "mouthUpperUp": (0.2, 0.7),
            "mouthLowerDown": (0.1, 0.6),
            "cheekSquint": (0.4, 1.0),
            "eyeSquint": (0.2, 0.7),
            "eyeBlink": (0.0, 0.4),
            "noseSneer": (0.0, 0.3),
        },
        (0.2, 0.6),
        bias=0.5,
    ),
    # Surprise.
    Feeling(
        0.06,
        {"browInnerUp": (0.4, 1.0), "browOuterUp": (0.4, 1.0), "eyeWide": (0.3, 1.0), "mouthFunnel": (0.0, 0.3)},
        (0.1, 0.8),
    ),
    # Anger, effort.
    Feeling(
        0.06,
        {
            "browDown": (0.5, 1.0),
            "eyeSquint": (0.2, 0.8),
            "noseSneer": (0.0, 0.6),
            "mouthPress": (0.0, 0.8),
            "mouthFrown": (0.0, 0.5),
            "mouthUpperUp": (0.0, 0.35),
        },
        (0.0, 0.1),
    ),
    # Sorrow, worry.
    Feeling(
        0.06,
        {"browInnerUp": (0.4, 1.0), "mouthFrown": (0.3, 1.0), "mouthShrugLower": (0.0, 0.6), "eyeSquint": (0.0, 0.4)},
    ),
    # Disgust.
    Feeling(
        0.03,
        {"noseSneer": (0.4, 1.0), "mouthUpperUp": (0.2, 0.7), "browDown": (0.2, 0.7), "cheekSquint": (0.1, 0.6)},
    ),
    # Squinting into the sun.
    Feeling(
        0.04, {"eyeSquint": (0.5, 1.0), "browDown": (0.3, 0.8), "cheekSquint": (0.2, 0.7), "mouthUpperUp": (0.0, 0.3)}
    ),
    # Shouting, singing, yawning.
    Feeling(
        0.04,
        {"mouthUpperUp": (0.0, 0.5), "mouthLowerDown": (0.1, 0.6), "mouthStretch": (0.0, 0.5), "browDown": (0.0, 0.5)},
        (0.5, 1.0),
        bias=0.7,
    ),
    # Kiss, whistle, pout.
    Feeling(0.03, {"mouthPucker": (0.4, 1.0), "mouthFunnel": (0.0, 0.4), "mouthShrugLower": (0.0, 0.3)}),
)

# Mouth shapes of speech, each with its opening of the jaw.
VISEMES: tuple[dict[str, Range], ...] = (
    {"jawOpen": (0.15, 0.45), "mouthLowerDown": (0.0, 0.3)},
    {"jawOpen": (0.08, 0.25), "mouthStretch": (0.1, 0.4), "mouthUpperUp": (0.0, 0.3), "mouthLowerDown": (0.1, 0.4)},
    {"jawOpen": (0.1, 0.35), "mouthFunnel": (0.3, 0.8)},
    {"jawOpen": (0.03, 0.15), "mouthPucker": (0.3, 0.7)},
    {"mouthPress": (0.2, 0.6), "mouthRollLower": (0.1, 0.4), "mouthRollUpper": (0.1, 0.3)},
    {"jawOpen": (0.05, 0.15), "mouthRollLower": (0.2, 0.5), "mouthUpperUp": (0.1, 0.3)},
)


def sample_expression(rng: Generator, names: list[str], neutral_fraction: float = 0.12) -> NDArray[np.float32]:
    """(52,) weights in [0, 1] in the order of `names`; exactly neutral at `neutral_fraction`."""
    weights = np.zeros(len(names))
    if chance(rng, neutral_fraction):
        return weights.astype(np.float32)
    index = {name: k for k, name in enumerate(names)}
    lean = np.clip(rng.normal(0.0, 0.12), -0.3, 0.3)  # which side of the face acts more strongly
    if chance(rng, 0.06):
        lean = rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 0.9)

    def activate(action: str, value: float) -> None:
        if action in index:
            weights[index[action]] += value
            return
        for side, sign in (("Left", 1.0), ("Right", -1.0)):
            weights[index[action + side]] += value * (1.0 + sign * lean) * rng.uniform(0.9, 1.1)

    shares = np.array([feeling.share for feeling in FEELINGS])
    feeling = FEELINGS[rng.choice(len(FEELINGS), p=shares / shares.sum())]
    intensity = rng.uniform(0.15, 1.0) ** feeling.bias
    for action, span in feeling.actions.items():
        activate(action, intensity * rng.uniform(*span))
    activate("jawOpen", intensity * rng.uniform(*feeling.jaw))
    if chance(rng, 0.25):
        for action, span in VISEMES[rng.integers(len(VISEMES))].items():
            activate(action, rng.uniform(0.4, 1.0) * rng.uniform(*span))
    _move_lids(rng, activate, weights, index)
    _add_single_actions(rng, weights, index)
    return np.clip(_attainable(weights, index), 0.0, 1.0).astype(np.float32)


def _move_lids(rng: Generator, activate: Callable[[str, float], None], weights: NDArray, index: dict[str, int]) -> None:
    """Eyes wide open, open, half closed, closed or winking; where they look is drawn apart (`sample_gaze`)."""
    state = rng.random()
    if state < 0.05:
        activate("eyeBlink", rng.uniform(0.85, 1.0))
    elif state < 0.12:
        activate("eyeBlink", rng.uniform(0.15, 0.6))
    elif state < 0.14:
        weights[index[f"eyeBlink{rng.choice(['Left', 'Right'])}"]] += rng.uniform(0.7, 1.0)
    elif state < 0.8:  # an attentive look; the lids of the model at rest hang low
        activate("eyeWide", rng.uniform(0.0, 0.5))


def _add_single_actions(rng: Generator, weights: NDArray, index: dict[str, int]) -> None:
    """Faint actions that belong to no feeling: a raised brow, a shifted jaw, puffed cheeks, twitches."""
    for action, probability, strongest in (
        ("browOuterUpLeft", 0.05, 0.8),
        ("browOuterUpRight", 0.05, 0.8),
        ("browInnerUp", 0.06, 0.5),
        ("jawLeft", 0.04, 0.6),
        ("jawRight", 0.04, 0.6),
        ("jawForward", 0.04, 0.6),
        ("mouthLeft", 0.05, 0.6),
        ("mouthRight", 0.05, 0.6),
        ("cheekPuff", 0.03, 0.8),
    ):
        if chance(rng, probability):
            weights[index[action]] += rng.uniform(0.1, strongest)
    twitches = (rng.random(len(weights)) < 0.06) * rng.uniform(0.0, 0.25, len(weights))
    for name, k in index.items():
        if not name.startswith("eyeLook"):  # eyes that look apart would squint
            weights[k] += twitches[k]


def _attainable(weights: NDArray, index: dict[str, int]) -> NDArray:
    """Weights without combinations that no face can make and that tear the mesh."""
    jaw = weights[index["jawOpen"]]
    weights[index["tongueOut"]] = 0.0
    weights[index["mouthClose"]] = min(weights[index["mouthClose"]], jaw)  # it closes the lips of an open jaw
    for name, k in index.items():
        if name.startswith(("mouthPress", "mouthRoll")):
            weights[k] *= 1.0 - 0.8 * min(jaw * 3.0, 1.0)
        elif name.startswith(("mouthFunnel", "mouthPucker")):
            weights[k] *= 1.0 - 0.7 * weights[index["mouthSmileLeft"]]
        elif name.startswith("eyeWide"):
            weights[k] *= 1.0 - min(1.0, weights[index[name.replace("Wide", "Blink")]])
        elif name.startswith("eyeSquint"):
            weights[k] *= 1.0 - 0.6 * min(1.0, weights[index[name.replace("Squint", "Blink")]])
    return weights
