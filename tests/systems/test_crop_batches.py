"""Batches: reproducible, complete, and averaged to the network's size."""

import numpy as np
import pytest
import torch

from facerecon.data.shards import ShardDataset
from facerecon.systems.amplitude_phase.settings import AugmentationSettings
from facerecon.systems.augmentation import CoefficientMirror
from facerecon.systems.crop_batches import CropBatches


class Rows:
    """Five crops whose gray value and first identity coefficient are their number; labels split down the middle."""

    def __len__(self):
        return 5

    def load_batch(self, indices):
        count = len(indices)
        labels = np.zeros((count, 224, 224), np.uint8)
        labels[:, :, 101:] = 10
        identity = np.zeros((count, 80), np.float32)
        identity[:, 0] = indices
        return {
            "image": np.stack([np.full((224, 224, 3), 10 * k, np.uint8) for k in indices]),
            "labels": labels,
            "landmarks": np.full((count, 68, 2), 50, np.float32),
            "confidence": np.ones((count, 68), np.float32),
            "identity": identity,
            "expression": np.zeros((count, 64), np.float32),
            "rotation": np.zeros((count, 3), np.float32),
            "translation": np.tile(np.float32([0, 0, 1000]), (count, 1)),
            "feature": identity[:, :2],
        }


def test_epochs_hold_every_row_once_in_new_orders():
    batches = CropBatches(Rows(), 2, seed=0, size=112, regions={10: 1.5})
    numbers = torch.cat([batches.batch(step)["identity"][:, 0] for step in range(10)]).reshape(4, 5).long()
    assert all(sorted(epoch.tolist()) == [0, 1, 2, 3, 4] for epoch in numbers)
    assert len({tuple(epoch.tolist()) for epoch in numbers}) > 1


def test_region_weights_and_whole_face_pixels():
    batch = CropBatches(Rows(), 2, seed=0, size=112, regions={10: 1.5}).plain_batch([3])
    # Column 101 of 224 is the right half of column 50 of 112.
    assert batch["region_weight"][0, 0, 49:52].tolist() == [0.0, 0.75, 1.5]
    assert batch["face"][0, 0, 49:52].tolist() == [0.0, 0.0, 1.0]
    assert batch["image"].shape == (1, 3, 112, 112) and torch.allclose(batch["image"], torch.tensor(30 / 255))
    assert batch["landmarks"][0, 0].tolist() == [50, 50]


def test_a_size_of_224_keeps_the_pixels(shard):
    dataset = ShardDataset([shard])
    full = CropBatches(dataset, 2, seed=0, size=224, regions={1: 1.0}).plain_batch([0, 1])
    small = CropBatches(dataset, 2, seed=0, size=112, regions={1: 1.0}).plain_batch([0, 1])
    assert torch.equal(
        (full["image"] * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(dataset.load_batch([0, 1])["image"])
    )
    assert torch.allclose(torch.nn.functional.avg_pool2d(full["image"], 2), small["image"], atol=1e-5)


def test_a_batch_depends_on_seed_and_step_alone(shard, face_model):
    def batches(seed):
        signs = CoefficientMirror.of(face_model)
        return CropBatches(ShardDataset([shard]), 3, seed, 112, {1: 1.0}, AugmentationSettings(), signs)

    first, again = batches(0), batches(0)
    again.batch(7)
    one, other = first.batch(3), again.batch(3)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["image"], batches(1).batch(3)["image"])
    assert not torch.equal(one["image"], first.batch(4)["image"])


def test_bad_arguments():
    with pytest.raises(ValueError, match="must divide 224"):
        CropBatches(Rows(), 2, 0, 100, {1: 1.0})
    with pytest.raises(ValueError, match="mirror matrices"):
        CropBatches(Rows(), 2, 0, 112, {1: 1.0}, AugmentationSettings())
