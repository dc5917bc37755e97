"""Image encoders of the reconstruction systems: images to feature vectors."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from facerecon.errors import InputError
from facerecon.networks import CARRIED
from facerecon.networks.recognition import EMBEDDING, RecognitionNetwork, load_recognition, recognition_crop

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_SPREAD = (0.229, 0.224, 0.225)


class SmallBackbone(nn.Module):
    """A recognition network with a second readout, for 112-pixel crops: 2.9 million parameters, to be trained on a CPU.

    forward: (B, 3, 112, 112) sRGB in [0, 1] -> (B, 896): 512 for who it is, the recognition network's unit embedding
    times the square root of its length, and 384 for where and how. Both see the middle three quarters of the crop.
    """

    input_size = 112
    feature_size = EMBEDDING + 384

    def __init__(self) -> None:
        super().__init__()
        self.recognition = RecognitionNetwork()
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(32 * 7 * 7, 384), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        features = self.recognition.features(recognition_crop(images))
        identity = functional.normalize(self.recognition.embedded(features), dim=1) * EMBEDDING**0.5
        return torch.cat([identity, self.dense(features).float()], 1)

    def load_initial_weights(self, path: str | os.PathLike) -> None:
        """Start from a recognition network: a file of `facerecon train recognition`, or "carried".

        Raises InputError if the file is missing, damaged or holds another network.
        """
        recognition = load_recognition(None if path == CARRIED else path)
        try:
            self.recognition.load_state_dict(recognition.state_dict())
        except RuntimeError:
            raise InputError(f"{path}: a recognition network of another width; train it with the default one") from None


class ResNetBackbone(nn.Module):
    """torchvision's ResNet (He et al. 2016) without its classifier, for 224-pixel crops.

    forward: (B, 3, 224, 224) sRGB in [0, 1] -> (B, 512) for resnet18, (B, 2048) for resnet50.
    """

    input_size = 224

    def __init__(self, name: str) -> None:
        super().__init__()
        from torchvision.models import resnet18, resnet50

        self.network = {"resnet18": resnet18, "resnet50": resnet50}[name](weights=None)
        self.feature_size = self.network.fc.in_features
        self.network.fc = nn.Identity()
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(_IMAGENET_SPREAD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.spread)

    def load_initial_weights(self, path: str | os.PathLike) -> None:
        """Start from an ImageNet classifier: torchvision's .pth or a .safetensors of the same state dict.

        Raises InputError if the file is missing, unreadable or of another network.
        """
        path = Path(path)
        try:
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
            state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
            self.network.load_state_dict(state)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file of initial weights; give torchvision's") from None
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError, AttributeError, ValueError):
            raise InputError(f"{path}: not a state dict of this ResNet; give torchvision's file for it") from None


class _Backbone(NamedTuple):
    input_size: int
    build: Callable[[], nn.Module]


_BACKBONES = {
    "small": _Backbone(SmallBackbone.input_size, SmallBackbone),
    "resnet18": _Backbone(ResNetBackbone.input_size, lambda: ResNetBackbone("resnet18")),
    "resnet50": _Backbone(ResNetBackbone.input_size, lambda: ResNetBackbone("resnet50")),
}


def backbone_input_size(name: str) -> int:
    """Side in pixels of the images that the backbone `name` takes. Raises InputError for an unknown name."""
    return _backbone(name).input_size


def build_backbone(name: str, initial_weights: str | os.PathLike | None = None) -> nn.Module:
    """Backbone `name` (small, resnet18, resnet50) with attributes input_size and feature_size.

    initial_weights: to start from: ImageNet weights for resnet18 and resnet50, a recognition network's (a file or
    "carried") for small; None draws them at random.
    Raises InputError for an unknown name, or a file that is missing or does not fit.
    """
    backbone = _backbone(name).build()
    if initial_weights is not None:
        backbone.load_initial_weights(initial_weights)
    return backbone


def _backbone(name: str) -> _Backbone:
    if name not in _BACKBONES:
        raise InputError(f"unknown backbone {name!r}; choose from {', '.join(_BACKBONES)}")
    return _BACKBONES[name]
