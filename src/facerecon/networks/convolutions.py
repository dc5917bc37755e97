"""Convolutional building blocks that the auxiliary networks share."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Centre and spread of photographs' values in [0, 1]; close to the usual ImageNet ones, one number for all channels.
_IMAGE_MEAN = 0.45
_IMAGE_SPREAD = 0.25
TRUNK_LEVELS = (2, 4, 6)
"""Layers of `face_trunk` after which its features are complete at 1/4, 1/8 and 1/16 of the crop."""


def standardise(images: Tensor) -> Tensor:
    """Images (..., 3, H, W), sRGB in [0, 1], to about zero mean and unit spread."""
    return (images - _IMAGE_MEAN) / _IMAGE_SPREAD


def channels_first(images: Tensor) -> Tensor:
    """uint8 images (B, H, W, 3) as float (B, 3, H, W) in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float() / 255.0


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution of size `kernel` (padded to keep the size at stride 1), batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class ResidualBlock(nn.Module):
    """Basic residual block (He et al. 2016) whose shortcut averages before it subsamples (He et al. 2019, ResNet-D)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, features: Tensor) -> Tensor:
        return F.relu(self.body(features) + self.shortcut(features))


def face_trunk(width: int) -> list[nn.Module]:
    """Layers from a face crop (B, 3, S, S) to features (B, 4 width, S / 16, S / 16), shared by what looks at one face.

    width: channels at a quarter of the size; deeper stages have two and four times as many.
    """
    return [
        conv_norm(3, width // 2, 5, 2),
        nn.MaxPool2d(2),
        ResidualBlock(width // 2, width),
        ResidualBlock(width, 2 * width, 2),
        ResidualBlock(2 * width, 2 * width),
        ResidualBlock(2 * width, 4 * width, 2),
        ResidualBlock(4 * width, 4 * width),
    ]


def resize_to(features: Tensor, reference: Tensor) -> Tensor:
    """Bilinear resize of (B, C, h, w) to the height and width of `reference` (..., H, W)."""
    return F.interpolate(features, reference.shape[-2:], mode="bilinear", align_corners=False)


def to_tensor(image_batch, device: torch.device | None = None) -> Tensor:
    """uint8 array (B, H, W, 3) or (H, W, 3) to a float tensor (B, 3, H, W) in [0, 1]."""
    images = torch.from_numpy(image_batch)
    return channels_first(images if images.ndim == 4 else images[None]).to(device)
