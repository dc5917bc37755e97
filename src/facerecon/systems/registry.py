"""The trainable systems by name. A system is a package `facerecon.systems.NAME` with

settings.py   `Settings`: a pydantic model that imports without torch
model.py      `load_system(weights, face_model) -> (system, card)`; the system has `.predict(crops)`
training.py   `make_task(settings: dict, data: list[Path], seed: int, batch_size: int)`: losses and the training step

A new system is one package, one recipe, and its name here and where names are lists that must be known without torch:
`facerecon.settings`, `fingerprint.STAGE_MODULES`, `cli.training`, and, with carried weights, `networks.weights`.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from facerecon.morphable.face_model import FaceModel

SYSTEMS = ("amplitude_phase",)


class PredictedCoefficients(Protocol):
    """What every system's prediction holds: identity (B, I) of the face model."""

    @property
    def identity(self) -> "Tensor": ...


class TrainedSystem(Protocol):
    """A system ready for inference."""

    def predict(self, crops: "NDArray[np.uint8]") -> PredictedCoefficients:
        """Coefficients of standard crops (B, 224, 224, 3) uint8 sRGB."""


def load_trained_system(
    name: str, weights: str | os.PathLike | None, face_model: "FaceModel"
) -> tuple[TrainedSystem, dict[str, Any]]:
    """The system `name` (one of SYSTEMS) with its weights (None: those carried), and their card.

    Raises ValueError for an unknown name, InputError if the weights cannot be used.
    """
    if name not in SYSTEMS:
        raise ValueError(f"no system is named {name!r}")
    return importlib.import_module(f"facerecon.systems.{name}.model").load_system(weights, face_model)
