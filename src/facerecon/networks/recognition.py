"""The recognition network: a unit vector a face, near for the same person and far for others.

A small residual network with a fully connected, normalised embedding (as Deng et al. 2019, section 3.1).
"""

import os

from torch import Tensor, nn
from torch.nn import functional as F

from facerecon.networks.convolutions import conv_norm, face_trunk, standardise
from facerecon.networks.loading import load_network

INPUT_SIZE = 112
EMBEDDING = 512
# The middle of the standard crop that is looked at: 3/4 of its side, about 165 mm: brows to chin, little hair or neck.
REGION = 0.75


class RecognitionNetwork(nn.Module):
    """width: channels at a quarter of the input; deeper stages have two and four times as many.

    The trunk is that of the landmark network, whose weights training starts from.
    """

    def __init__(self, width: int = 48, dropout: float = 0.0):
        super().__init__()
        self.trunk = nn.Sequential(*face_trunk(width))
        self.reduction = conv_norm(4 * width, 32, 1)
        self.dropout = nn.Dropout(dropout)
        self.embedding = nn.Linear(32 * (INPUT_SIZE // 16) ** 2, EMBEDDING, bias=False)
        self.norm = nn.BatchNorm1d(EMBEDDING)

    def forward(self, images: Tensor) -> Tensor:
        """images: (B, 3, 112, 112) sRGB in [0, 1], from `recognition_crop` -> embeddings (B, 512) of any length."""
        return self.embedded(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Feature maps (B, 32, 7, 7) of images (B, 3, 112, 112)."""
        return self.reduction(self.trunk(standardise(images)))

    def embedded(self, features: Tensor) -> Tensor:
        """Embeddings (B, 512) of any length of feature maps (B, 32, 7, 7)."""
        return self.norm(self.embedding(self.dropout(features.flatten(1))).float())

    def embed(self, images: Tensor) -> Tensor:
        """images: (B, 3, 112, 112) in [0, 1] -> unit embeddings (B, 512); their dot product is the cosine similarity.

        Differentiable in the images. Raises ValueError for another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (3, INPUT_SIZE, INPUT_SIZE):
            raise ValueError(f"images must be (B, 3, {INPUT_SIZE}, {INPUT_SIZE}), not {tuple(images.shape)}")
        return F.normalize(self(images), dim=1)


def recognition_crop(images: Tensor) -> Tensor:
    """The part of standard crops (B, 3, S, S) that the recognition network looks at, as (B, 3, 112, 112).

    The middle three quarters, resized smoothly; differentiable; values are kept.
    Raises ValueError if the images are not square or S is not a multiple of 8.
    """
    size = images.shape[-1]
    if images.ndim != 4 or images.shape[-2] != size or size % 8 or not size:
        raise ValueError(f"images must be (B, 3, S, S) with S a multiple of 8, not {tuple(images.shape)}")
    edge = round(size * (1 - REGION) / 2)
    region = images[..., edge : size - edge, edge : size - edge]
    return F.interpolate(region, (INPUT_SIZE, INPUT_SIZE), mode="bilinear", align_corners=False, antialias=True)


def load_recognition(weights: str | os.PathLike | None = None) -> RecognitionNetwork:
    """The recognition network with its weights (None: those carried); raises InputError as `loading.load_network`."""
    # A file straight from training holds the subjects' centres beside the network.
    return load_network("recognition", RecognitionNetwork, weights, prefix="network.")[0]
