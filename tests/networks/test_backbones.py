"""Backbones: sizes, gradients and initial weights."""

import pytest
import torch
from safetensors.torch import save_file

from facerecon.errors import InputError
from facerecon.networks.backbones import backbone_input_size, build_backbone
from facerecon.networks.recognition import EMBEDDING, RecognitionNetwork, recognition_crop
from facerecon.networks.weights import save_weights


@pytest.mark.parametrize("name, size, features", [("small", 112, 896), ("resnet18", 224, 512), ("resnet50", 224, 2048)])
def test_images_to_features(name, size, features):
    backbone = build_backbone(name).eval()
    assert (backbone_input_size(name), backbone.input_size, backbone.feature_size) == (size, size, features)
    with torch.no_grad():
        assert backbone(torch.rand(1, 3, size, size)).shape == (1, features)


def test_the_small_one_is_small_and_learns_everywhere():
    backbone = build_backbone("small")
    assert 1.5e6 < sum(p.numel() for p in backbone.parameters()) < 3e6
    backbone(torch.rand(2, 3, 112, 112)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in backbone.parameters())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_initial_weights_of_a_classifier(tmp_path, suffix):
    from torchvision.models import resnet18

    torch.manual_seed(3)
    state = resnet18().state_dict()
    path = tmp_path / f"resnet18{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    loaded = build_backbone("resnet18", path).network.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state if not name.startswith("fc."))


def test_initial_weights_that_do_not_fit(tmp_path):
    with pytest.raises(InputError, match="no such file of initial weights"):
        build_backbone("resnet18", tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match=r"text\.pth: not a state dict"):
        build_backbone("resnet18", tmp_path / "text.pth")
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors: not a state dict"):
        build_backbone("resnet18", tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other\.json"):
        build_backbone("small", tmp_path / "other.safetensors")
    narrow = RecognitionNetwork(width=8)
    save_weights(tmp_path / "narrow.safetensors", narrow.state_dict(), {"name": "recognition", "network": {"width": 8}})
    with pytest.raises(InputError, match="another width"):
        build_backbone("small", tmp_path / "narrow.safetensors")


def test_small_starts_as_a_recognition_network(tmp_path):
    torch.manual_seed(2)
    network = RecognitionNetwork()
    save_weights(tmp_path / "r.safetensors", network.state_dict(), {"name": "recognition", "network": {}}, half=False)
    backbone = build_backbone("small", tmp_path / "r.safetensors").eval()
    images = torch.rand(2, 3, 112, 112)
    expected = network.eval().embed(recognition_crop(images)) * EMBEDDING**0.5
    assert torch.allclose(backbone(images)[:, :EMBEDDING], expected, atol=1e-5)


def test_unknown_names():
    with pytest.raises(InputError, match="choose from small, resnet18, resnet50"):
        build_backbone("vgg")
    with pytest.raises(InputError, match="unknown backbone"):
        backbone_input_size("vgg")
