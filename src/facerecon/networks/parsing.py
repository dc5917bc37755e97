"""The parsing network: which of 19 parts of a portrait each pixel of the standard crop shows.

After BiSeNet (Yu et al. 2018): a shallow path keeps detail, a deep one sees context and is weighed by attention, and a
fusion block joins them. Sized for crops of 128 to 160 pixels, so detail is kept at 1/4 and context seen down to 1/16.
Eyes and lips are a few pixels high there: classes are told at the crop's full size, from features at 1/2 with a skip
connection. (Exact labels shrunk to 36 x 36 and enlarged again have a mean IoU of 0.77, at 128 x 128 0.95.)
"""

import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from facerecon.errors import InputError
from facerecon.networks.convolutions import ResidualBlock, conv_norm, resize_to, standardise, to_tensor
from facerecon.networks.image_crops import require_rgb
from facerecon.networks.loading import load_network

CLASS_COUNT = 19


class AttentionRefinement(nn.Module):
    """Weighs each channel by a function of its image-wide mean (BiSeNet, fig. 2b)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.features = conv_norm(inputs, outputs)
        self.attention = nn.Conv2d(outputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        features = self.features(features)
        return features * torch.sigmoid(self.attention(features.mean((2, 3), keepdim=True)))


class FeatureFusion(nn.Module):
    """Joins detail and context; channels are re-weighed by their mean, beside the identity (BiSeNet, fig. 2c)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.features = conv_norm(inputs, outputs, 1)
        self.attention = nn.Sequential(
            nn.Conv2d(outputs, outputs // 4, 1), nn.ReLU(), nn.Conv2d(outputs // 4, outputs, 1), nn.Sigmoid()
        )

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        features = self.features(torch.cat([detail, context], 1))
        return features * (1 + self.attention(features.mean((2, 3), keepdim=True)))


class FullSizeHead(nn.Module):
    """Classes at the crop's size: a step from 1/4 to 1/2 with a skip connection, then four pixels a cell."""

    def __init__(self, joint: int, width: int):
        super().__init__()
        self.narrow = conv_norm(joint, 2 * width)
        self.skip = nn.Conv2d(width, 2 * width, 1)
        self.join = conv_norm(2 * width, 2 * width)
        self.classes = nn.Conv2d(2 * width, 4 * CLASS_COUNT, 1)

    def forward(self, fused: Tensor, first: Tensor) -> Tensor:
        """fused: (B, joint, S/4, S/4), first: (B, width, S/2, S/2) -> logits (B, 19, S, S)."""
        features = self.join(resize_to(self.narrow(fused), first) + self.skip(first))
        return F.pixel_shuffle(self.classes(features), 2)


class ParsingNetwork(nn.Module):
    """size: side in pixels, a multiple of 16, at which crops are looked at. width: channels at half that size.

    full_size: whether the classes are told at the crop's size, or at a quarter of it.
    """

    def __init__(self, size: int = 144, width: int = 16, full_size: bool = False):
        super().__init__()
        if size % 16:
            raise ValueError(f"the crop size must be a multiple of 16, not {size}")
        self.size = size
        joint = 4 * width
        self.first = conv_norm(3, width, 5, 2)
        self.detail = nn.Sequential(conv_norm(width, 2 * width, 3, 2), conv_norm(2 * width, joint))
        self.quarter = nn.Sequential(nn.MaxPool2d(2), ResidualBlock(width, 3 * width))
        self.eighth = nn.Sequential(ResidualBlock(3 * width, 6 * width, 2), ResidualBlock(6 * width, 6 * width))
        self.sixteenth = nn.Sequential(ResidualBlock(6 * width, 10 * width, 2), ResidualBlock(10 * width, 10 * width))
        self.refine_eighth = AttentionRefinement(6 * width, joint)
        self.refine_sixteenth = AttentionRefinement(10 * width, joint)
        self.overall = nn.Conv2d(10 * width, joint, 1)
        self.fusion = FeatureFusion(2 * joint, joint)
        if full_size:
            self.head: nn.Module = FullSizeHead(joint, width)
        else:
            self.head = nn.Sequential(conv_norm(joint, joint), nn.Conv2d(joint, CLASS_COUNT, 1))

    def start_at(self, frequency: Tensor) -> None:
        """Let the untrained network tell classes by their frequency (19,) alone: their logarithms differ by ten and
        would take the optimiser a thousand steps to find."""
        classes = self.head.classes if isinstance(self.head, FullSizeHead) else self.head[-1]
        with torch.no_grad():
            log_frequency = torch.log(frequency.clamp(min=1e-5)).to(classes.bias)
            classes.bias.copy_(log_frequency.repeat_interleave(len(classes.bias) // CLASS_COUNT))

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 3, size, size) standard crops, sRGB in [0, 1] -> class logits (B, 19, S, S), where S is size, or
        size / 4 for a network without `full_size`."""
        first = self.first(standardise(images))
        eighth = self.eighth(self.quarter(first))
        sixteenth = self.sixteenth(eighth)
        context = self.refine_sixteenth(sixteenth) + self.overall(sixteenth.mean((2, 3), keepdim=True))
        context = self.refine_eighth(eighth) + resize_to(context, eighth)
        detail = self.detail(first)
        fused = self.fusion(detail, resize_to(context, detail))
        return self.head(fused, first) if isinstance(self.head, FullSizeHead) else self.head(fused)

    def probabilities(self, images: Tensor) -> Tensor:
        """images: (B, 3, S, S) standard crops of any size, in [0, 1] -> class probabilities (B, 19, S, S)."""
        resized = F.interpolate(images, (self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        return torch.softmax(resize_to(self(resized).float(), images), 1)


@torch.inference_mode()
def parse_face(crop: NDArray[np.uint8], network: ParsingNetwork) -> NDArray[np.uint8]:
    """Parsing classes (S, S) uint8 of a standard crop (S, S, 3) uint8 sRGB.

    Raises InputError if the crop is not a square image.
    """
    crop = require_rgb(crop)
    if crop.shape[0] != crop.shape[1]:
        raise InputError(f"the crop is {crop.shape[1]} x {crop.shape[0]} pixels; give a square standard crop")
    device = next(network.parameters()).device
    return network.probabilities(to_tensor(crop, device))[0].argmax(0).to(torch.uint8).cpu().numpy()


def load_parsing(weights: str | os.PathLike | None = None) -> ParsingNetwork:
    """The parsing network with its weights (None: those carried); raises InputError as `loading.load_network`."""
    return load_network("parsing", ParsingNetwork, weights)[0]
