"""Random facial expressions as weights of the 52 ARKit names."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.synthesis.randomness import chance

# Co-occurring actions of common expressions: name (both sides where the name has sides) -> range of the weight.
PROTOTYPES: tuple[dict[str, tuple[float, float]], ...] = (
    {},
    {"mouthSmile": (0.3, 1.0), "cheekSquint": (0.0, 0.6), "jawOpen": (0.0, 0.15), "mouthUpperUp": (0.0, 0.5)},
    {"jawOpen": (0.1, 0.9), "browOuterUp": (0.0, 0.8), "browInnerUp": (0.0, 0.8)},
    {"browDown": (0.2, 1.0), "mouthFrown": (0.0, 0.7), "eyeSquint": (0.0, 0.8)},
    {"mouthSmile": (0.3, 0.9), "jawOpen": (0.1, 0.6), "mouthUpperUp": (0.0, 0.5)},
    {"mouthPucker": (0.0, 0.9), "mouthFunnel": (0.0, 0.4)},
    {"mouthStretch": (0.1, 0.6), "mouthLowerDown": (0.2, 0.8), "mouthUpperUp": (0.1, 0.6)},
)


def sample_expression(rng: Generator, names: list[str], neutral_fraction: float = 0.2) -> NDArray[np.float32]:
    """(52,) weights in [0, 1]: a common expression, often a blink, and a few random actions on top."""
    weights = np.zeros(len(names), np.float32)
    if chance(rng, neutral_fraction):
        return weights
    index = {name: k for k, name in enumerate(names)}

    def activate(action: str, low: float, high: float) -> None:
        value = rng.uniform(low, high)
        sided = [action] if action in index else [action + "Left", action + "Right"]
        for name in sided:
            weights[index[name]] += value * rng.uniform(0.8, 1.1)

    for action, (low, high) in PROTOTYPES[rng.integers(len(PROTOTYPES))].items():
        activate(action, low, high)
    if chance(rng, 0.2):
        activate("eyeBlink", 0.3, 1.0)
    weights += (rng.random(len(names)) < 0.12) * rng.uniform(0.0, 0.6, len(names))
    weights[index["tongueOut"]] = 0.0
    weights[index["mouthClose"]] *= 0.2  # tears the mouth apart unless the jaw is open
    return np.clip(weights, 0.0, 1.0)
