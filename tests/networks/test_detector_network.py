import numpy as np
import pytest
import torch

from facerecon.errors import InputError
from facerecon.networks.detector import (
    REFERENCE_SIZE,
    STRIDE,
    DetectorNetwork,
    decode,
    detect_faces,
    intersection_over_union,
    load_detector,
    suppress,
)
from facerecon.networks.weights import save_weights


@pytest.fixture
def network() -> DetectorNetwork:
    torch.manual_seed(0)
    return DetectorNetwork(width=4).eval()


class BlobDetector(DetectorNetwork):
    """An exact detector of bright squares of 32 to 64 level pixels: tests pyramid and geometry without training."""

    def forward(self, images):
        bright = (images.mean(1, keepdim=True) > 0.8).float()
        batch, _, height, width = bright.shape
        logits = torch.full((batch, height // STRIDE, width // STRIDE), -8.0)
        geometry = torch.zeros(*logits.shape, 4)
        for index in range(batch):
            row, column = torch.nonzero(bright[index, 0], as_tuple=True)
            if len(row) and 28 <= (row.max() - row.min() + 1) < 64:
                y0, y1, x0, x1 = row.min(), row.max() + 1, column.min(), column.max() + 1
                cx, cy = (x0 + x1) / 2 / STRIDE, (y0 + y1) / 2 / STRIDE
                i, j = int(cy), int(cx)
                logits[index, i, j] = 4.0
                geometry[index, i, j] = torch.tensor(
                    [torch.log((x1 - x0) / REFERENCE_SIZE), torch.log((y1 - y0) / REFERENCE_SIZE), cx - j, cy - i]
                )
        return logits, geometry


def test_shapes_and_rare_faces_at_the_start(network):
    logits, geometry = network(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, 8, 12) and geometry.shape == (2, 8, 12, 4)
    assert torch.sigmoid(logits).mean() < 0.1


def test_decode_by_hand():
    logits = torch.full((4, 5), -9.0)
    logits[1, 2], logits[1, 3], logits[3, 0] = 3.0, 2.0, 0.0  # the neighbour of a peak is no peak
    geometry = torch.zeros(4, 5, 4)
    geometry[1, 2] = torch.tensor([np.log(0.5), 0.0, 0.25, 0.5])
    boxes, scores = decode(logits, geometry, 0.4)
    order = np.argsort(-scores)
    np.testing.assert_allclose(scores[order], [1 / (1 + np.exp(-3)), 0.5], rtol=1e-6)
    # centre (2.25, 1.5) cells = (18, 12) px; width half of 40, height 40
    np.testing.assert_allclose(boxes[order[0]], [8, -8, 28, 32], atol=1e-4)
    assert len(decode(logits, geometry, 0.99)[0]) == 0


@pytest.mark.parametrize("side", [30, 50, 90, 170, 380])
def test_detect_finds_every_size_through_the_pyramid(side):
    photo = np.zeros((400, 600, 3), np.uint8)
    photo[10 : 10 + side, 100 : 100 + side] = 255
    detections = detect_faces(photo, BlobDetector(width=4))
    assert len(detections) == 1
    np.testing.assert_allclose(detections[0].box, [100, 10, 100 + side, 10 + side], atol=0.04 * side + 1)


def test_detect_in_an_image_larger_than_the_longest_side():
    photo = np.zeros((300, 900, 3), np.uint8)
    photo[40:140, 700:800] = 255
    detections = detect_faces(photo, BlobDetector(width=4, longest_side=300))
    assert len(detections) == 1
    np.testing.assert_allclose(detections[0].box, [700, 40, 800, 140], atol=4)


@pytest.mark.parametrize("shape", [(1, 1), (2, 300, 3), (16, 16, 3), (40, 33)])
def test_degenerate_images_give_no_error(network, shape):
    assert isinstance(detect_faces(np.full(shape, 200, np.uint8), network, score_threshold=0.9), list)


def test_detect_refuses_what_is_no_image(network):
    for wrong in (np.zeros((10, 10, 3)), np.zeros((10, 10, 5), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InputError):
            detect_faces(wrong, network)


def test_suppress_by_hand():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [3, 3, 6, 6]], float)
    kept = suppress(boxes, np.array([0.8, 0.9, 0.5, 0.99]))
    # the small box is best; the first two hold it whole; the far one stays
    assert [detection.score for detection in kept] == [0.99, 0.5]
    assert suppress(np.zeros((0, 4)), np.zeros(0)) == []
    np.testing.assert_allclose(intersection_over_union(boxes[0], boxes[:3]), [1, 90 / 110, 0])


def test_load_takes_the_measured_threshold(tmp_path, network):
    path = tmp_path / "model.safetensors"
    card = {"name": "detector", "network": {"width": 4}, "measured": {"score_threshold": 0.23}}
    save_weights(path, network.state_dict(), card)
    assert load_detector(path).score_threshold == 0.23
    with pytest.raises(InputError, match="no such weights"):
        load_detector(tmp_path / "absent.safetensors")
