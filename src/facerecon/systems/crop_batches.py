"""Training batches of standard crops from shards: a function of (seed, step) alone."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facerecon.geometry.cameras import STANDARD_SIZE
from facerecon.systems.augmentation import CoefficientMirror, Crop, change_colours, mirror_crop, move_crop

_FULLY_INSIDE = 0.999


class CropSource(Protocol):
    """Random access to preprocessed photographs: facerecon.data.shards.ShardDataset."""

    def __len__(self) -> int: ...

    def load_batch(self, indices: Sequence[int]) -> dict[str, NDArray]: ...


class AugmentationLimits(Protocol):
    """How far crops may change: flip (bool), shift (pixels at 224), scale and colour (relative)."""

    flip: bool
    shift: float
    scale: float
    colour: float


class CropBatches:
    """Batches for a network that sees crops of `size` pixels.

    size: divides 224. regions: parsing class -> weight W of the photometric loss; classes that are absent are no face.
    limits: of augmentation, or None for the crops as they are.
    """

    def __init__(
        self,
        source: CropSource,
        batch_size: int,
        seed: int,
        size: int,
        regions: Mapping[int, float],
        limits: AugmentationLimits | None = None,
        mirror: CoefficientMirror | None = None,
    ):
        if STANDARD_SIZE % size:
            raise ValueError(f"size must divide {STANDARD_SIZE}, not {size}")
        if limits is not None and limits.flip and mirror is None:
            raise ValueError("mirrored crops need the face model's mirror matrices")
        self.source, self.batch_size, self.seed, self.size = source, batch_size, seed, size
        self.limits, self.mirror = limits, mirror
        self._region_weight = np.zeros(256, np.float32)
        self._is_face = np.zeros(256, np.float32)
        for label, weight in regions.items():
            self._region_weight[label], self._is_face[label] = weight, 1.0
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    def batch(self, step: int) -> dict[str, Tensor]:
        """Batch of a training step: every epoch in a new order, each crop with its own random changes."""
        count = len(self.source)
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        indices = [int(self._order(place // count)[place % count]) for place in places]
        generators = [np.random.default_rng((self.seed, 1, place)) for place in places]
        return self._assemble(indices, generators)

    def plain_batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The named rows without random changes."""
        return self._assemble(indices, None)

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.source))

    def _assemble(self, indices: Sequence[int], generators: list[np.random.Generator] | None) -> dict[str, Tensor]:
        """image (B, 3, size, size) sRGB in [0, 1]; face (B, size, size) 1 where all of a pixel is face, region_weight
        (B, size, size); landmarks (B, 68, 2) pixels at 224, confidence (B, 68); identity, expression, rotation,
        translation: the guide, as in `Crop`; feature (B, D) of the crop before any change."""
        rows = self.source.load_batch(indices)
        names = [field.name for field in fields(Crop)]
        crops = [Crop(**{name: rows[name][i] for name in names}) for i in range(len(indices))]
        if generators is not None and self.limits is not None:
            crops = [self._augmented(crop, generator) for crop, generator in zip(crops, generators, strict=True)]
        images = np.stack([self._averaged(crop.image.astype(np.float32)) for crop in crops]) / np.float32(255)
        inside = np.stack([self._averaged(self._is_face[crop.labels]) for crop in crops])
        batch = {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "face": torch.from_numpy((inside > _FULLY_INSIDE).astype(np.float32)),
            "region_weight": torch.from_numpy(
                np.stack([self._averaged(self._region_weight[crop.labels]) for crop in crops])
            ),
            "feature": torch.from_numpy(rows["feature"]),
        }
        for name in ("landmarks", "confidence", "identity", "expression", "rotation", "translation"):
            batch[name] = torch.from_numpy(np.stack([getattr(crop, name) for crop in crops]).astype(np.float32))
        return batch

    def _augmented(self, crop: Crop, generator: np.random.Generator) -> Crop:
        limits = self.limits
        mirrored, scale = generator.random() < 0.5, 1 + generator.uniform(-limits.scale, limits.scale)
        shift = generator.uniform(-limits.shift, limits.shift, 2)
        gains = (1 + generator.uniform(-limits.colour, limits.colour)) * (
            1 + generator.uniform(-limits.colour, limits.colour, 3) / 2
        )
        if limits.flip and mirrored:
            crop = mirror_crop(crop, self.mirror)
        if limits.scale or limits.shift:
            crop = move_crop(crop, scale, tuple(shift))
        return replace(crop, image=change_colours(crop.image, gains))

    def _averaged(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        if picture.shape[0] == self.size:
            return picture
        return cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
