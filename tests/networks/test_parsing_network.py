import numpy as np
import pytest
import torch

from facerecon.data.parsing_labels import PARSING_CLASSES
from facerecon.errors import InputError
from facerecon.networks.parsing import CLASS_COUNT, ParsingNetwork, load_parsing, parse_face
from facerecon.networks.weights import save_weights


@pytest.fixture
def network() -> ParsingNetwork:
    torch.manual_seed(0)
    return ParsingNetwork(size=64, width=4).eval()


def test_shapes(network):
    assert len(PARSING_CLASSES) == CLASS_COUNT
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 19, 16, 16)
    probabilities = network.probabilities(torch.rand(2, 3, 100, 100))
    assert probabilities.shape == (2, 19, 100, 100)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 100, 100))
    with pytest.raises(ValueError, match="multiple of 16"):
        ParsingNetwork(size=100)


def test_full_size_tells_classes_at_every_pixel():
    torch.manual_seed(0)
    network = ParsingNetwork(size=64, width=4, full_size=True).eval()
    images = torch.rand(2, 3, 64, 64)
    assert network(images).shape == (2, 19, 64, 64)
    changed = images.clone()
    changed[0, :, 30, 40] = 1 - changed[0, :, 30, 40]
    difference = (network(changed) - network(images)).detach().abs().amax(1)
    assert difference[0, 30, 40] > 0 and difference[1].max() == 0


@pytest.mark.parametrize("full_size", [False, True])
def test_an_untrained_network_starts_at_the_classes_frequency(full_size):
    network = ParsingNetwork(size=64, width=4, full_size=full_size).eval()
    layer = network.head.classes if full_size else network.head[-1]
    torch.nn.init.zeros_(layer.weight)
    frequency = torch.softmax(torch.linspace(-4, 2, CLASS_COUNT), 0)
    network.start_at(frequency)
    told = network.probabilities(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(told, frequency[:, None, None].expand(1, -1, 64, 64), atol=1e-5, rtol=1e-4)


def test_batched_equals_single(network):
    images = torch.rand(3, 3, 64, 64)
    single = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), single, atol=1e-5, rtol=1e-4)


def test_parse_face(network):
    labels = parse_face(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8), network)
    assert labels.shape == (50, 50) and labels.dtype == np.uint8 and labels.max() < CLASS_COUNT
    assert parse_face(np.zeros((1, 1), np.uint8), network).shape == (1, 1)
    with pytest.raises(InputError, match="give a square"):
        parse_face(np.zeros((50, 40, 3), np.uint8), network)


def test_load(tmp_path, network):
    path = tmp_path / "model.safetensors"
    images = torch.rand(1, 3, 64, 64)
    for full_size in (False, True):  # weights from before there was a choice have a quarter of the size
        network = ParsingNetwork(size=64, width=4, full_size=full_size).eval()
        arguments = {"size": 64, "width": 4} | ({"full_size": True} if full_size else {})
        save_weights(path, network.state_dict(), {"name": "parsing", "network": arguments}, half=False)
        torch.testing.assert_close(load_parsing(path)(images), network(images).detach())
