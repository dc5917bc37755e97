import pytest
import torch

from facerecon.networks.recognition import (
    EMBEDDING,
    INPUT_SIZE,
    RecognitionNetwork,
    load_recognition,
    recognition_crop,
)
from facerecon.networks.weights import save_weights


@pytest.fixture
def network() -> RecognitionNetwork:
    torch.manual_seed(0)
    return RecognitionNetwork(width=8).eval()


def test_embeddings_are_unit_and_differentiable(network):
    images = torch.rand(2, 3, INPUT_SIZE, INPUT_SIZE, requires_grad=True)
    embeddings = network.embed(images)
    assert embeddings.shape == (2, EMBEDDING)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    (embeddings[0] @ embeddings[1]).backward()
    assert images.grad.abs().sum() > 0
    torch.testing.assert_close(network.embed(images[:1]), embeddings[:1], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="must be"):
        network.embed(torch.rand(2, 3, 64, 64))


def test_crop_is_the_middle_three_quarters():
    images = torch.zeros(1, 3, 224, 224)
    images[..., 28:196, 28:196] = 1
    torch.testing.assert_close(recognition_crop(images), torch.ones(1, 3, 112, 112))
    # On a ramp x of the crop, output pixel j stands for x = 28 + (j + 0.5) * 1.5.
    ramp = (torch.arange(224) + 0.5).expand(1, 3, 224, 224).contiguous()
    expected = 28 + (torch.arange(112) + 0.5) * 1.5
    torch.testing.assert_close(recognition_crop(ramp)[0, 0, 5, 2:-2], expected[2:-2], atol=0.05, rtol=0)


@pytest.mark.parametrize("size", [112, 224, 64])
def test_crop_sizes_and_gradient(size):
    images = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    crop = recognition_crop(images)
    assert crop.shape == (1, 3, 112, 112)
    crop.sum().backward()
    assert (images.grad[..., size // 2, size // 2] > 0).all() and (images.grad[..., 0, 0] == 0).all()


@pytest.mark.parametrize("shape", [(1, 3, 100, 100), (1, 3, 64, 72), (3, 64, 64), (1, 3, 0, 0)])
def test_crop_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="multiple of 8"):
        recognition_crop(torch.zeros(shape))


def test_load_with_and_without_the_subjects_centres(tmp_path, network):
    images = torch.rand(2, 3, INPUT_SIZE, INPUT_SIZE)
    card = {"name": "recognition", "network": {"width": 8}}
    state = network.state_dict()
    trained = {f"network.{name}": tensor for name, tensor in state.items()} | {"centres": torch.zeros(5, EMBEDDING)}
    for number, tensors in enumerate((state, trained)):
        path = tmp_path / f"{number}.safetensors"
        save_weights(path, tensors, card, half=False)
        torch.testing.assert_close(load_recognition(path).embed(images), network.embed(images).detach())
