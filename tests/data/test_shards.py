"""Batches from shards: order, values, damage, workers."""

import multiprocessing
import pickle
import subprocess
import sys

import h5py
import numpy as np
import pytest

from facerecon.data.images import decode_image, encode_jpeg, encode_png
from facerecon.data.shards import ShardDataset
from facerecon.data.tables import Table, encode_strings, write_table
from facerecon.errors import InputError


def shard_table(first: int, count: int, model: str = "m") -> Table:
    rng = np.random.default_rng(first)
    shapes = {
        "landmarks": (68, 2),
        "confidence": (68,),
        "crop_scale": (),
        "crop_offset": (2,),
        "identity": (80,),
        "expression": (64,),
        "rotation": (3,),
        "translation": (3,),
        "residual": (),
        "feature": (16,),
    }
    columns = {name: rng.normal(size=(count, *shape)).astype(np.float32) for name, shape in shapes.items()}
    columns["identity"][:, 0] = np.arange(first, first + count)
    columns["split"] = encode_strings(["validation" if (first + k) % 4 == 0 else "train" for k in range(count)])
    columns["subject"] = encode_strings([str((first + k) // 2) for k in range(count)])
    columns["dataset"] = encode_strings(["open"] * count)
    flat = [np.full((224, 224, 3), 20 * (first + k), np.uint8) for k in range(count)]
    return Table(
        "shard",
        [f"{first + k:04d}" for k in range(count)],
        columns,
        {
            "image": [encode_jpeg(image) for image in flat],
            "labels": [encode_png(image[..., 0] // 20) for image in flat],
        },
        attributes={"face_model_sha256": model},
    )


@pytest.fixture
def paths(tmp_path):
    write_table(tmp_path / "shard-0.h5", shard_table(0, 5))
    write_table(tmp_path / "shard-1.h5", shard_table(5, 3))
    return [tmp_path / "shard-0.h5", tmp_path / "shard-1.h5"]


def test_batches_keep_order_and_repeats(paths):
    dataset = ShardDataset(paths)
    assert len(dataset) == 8 and dataset.ids[6] == "0006" and dataset.face_model_sha256 == "m"
    batch = dataset.load_batch([6, 0, 4, 0])
    assert batch["identity"][:, 0].tolist() == [6, 0, 4, 0]
    assert batch["image"].shape == (4, 224, 224, 3) and batch["image"].dtype == np.uint8
    assert batch["labels"].shape == (4, 224, 224) and batch["labels"][:, 0, 0].tolist() == [6, 0, 4, 0]
    assert np.abs(batch["image"][:, 5, 5, 0].astype(int) - [120, 0, 80, 0]).max() <= 2
    assert np.array_equal(batch["image"][2], decode_image(shard_table(0, 5).blobs["image"][4], "x"))
    assert all(values.dtype == np.float32 for name, values in batch.items() if name not in ("image", "labels"))
    dataset.close()
    assert dataset.load_batch([1])["identity"][0, 0] == 1


def test_splits(paths):
    assert ShardDataset(paths, split="validation").ids == ["0000", "0004"]
    train = ShardDataset(paths, split="train")
    assert len(train) == 6 and train.load_batch([3])["identity"][0, 0] == 5
    with pytest.raises(InputError, match="no images of split 'test'"):
        ShardDataset(paths, split="test")


def test_out_of_range(paths):
    with pytest.raises(IndexError):
        ShardDataset(paths).load_batch([8])


def read_in_worker(dataset: ShardDataset) -> float:
    return float(dataset.load_batch([7])["identity"][0, 0])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_open_their_own_files(paths, method):
    dataset = ShardDataset(paths)
    dataset.load_batch([7])
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(read_in_worker, (dataset,)) == 7.0


def test_pickled_datasets_hold_no_handles(paths):
    dataset = ShardDataset(paths)
    dataset.load_batch([0])
    assert pickle.loads(pickle.dumps(dataset)).load_batch([5])["identity"][0, 0] == 5.0


def test_data_sets_may_have_images_of_one_name(paths, tmp_path):
    other = shard_table(0, 3)
    other.columns["dataset"] = encode_strings(["mine"] * 3)
    write_table(tmp_path / "mine.h5", other)
    dataset = ShardDataset([*paths, tmp_path / "mine.h5"])
    assert len(dataset) == 11 and dataset.ids[8:] == dataset.ids[:3]


def test_a_shard_without_rows_is_passed_over(paths, tmp_path):
    write_table(tmp_path / "empty.h5", shard_table(0, 0))
    dataset = ShardDataset([tmp_path / "empty.h5", *paths])
    assert len(dataset) == 8 and dataset.load_batch([0])["identity"][0, 0] == 0
    with pytest.raises(InputError, match="empty.h5: the 1 shards hold no photographs, since every one was rejected"):
        ShardDataset([tmp_path / "empty.h5"], split="train")


FEW_FILES = """
import resource, sys
from facerecon.data.shards import ShardDataset
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
dataset = ShardDataset(sys.argv[1:])
for _ in range(2):
    batch = dataset.load_batch(range(len(dataset)))
    assert batch["identity"][:, 0].tolist() == list(range(120))
    assert batch["feature"].shape == (120, 16)
"""


def test_more_shards_than_files_may_be_open(tmp_path):
    paths = [tmp_path / f"shard-{number}.h5" for number in range(120)]
    table = shard_table(0, 1)
    for number, path in enumerate(paths):
        table.ids[0], table.columns["identity"][0, 0] = str(number), number
        write_table(path, table)
    subprocess.run([sys.executable, "-c", FEW_FILES, *map(str, paths)], check=True)


def test_features_are_read_when_asked_for(paths):
    dataset = ShardDataset(paths)
    batch = dataset.load_batch([6, 1])
    expected = [shard_table(5, 3).columns["feature"][1], shard_table(0, 5).columns["feature"][1]]
    assert np.array_equal(batch["feature"], expected)


def test_a_damaged_image_is_named(paths):
    with h5py.File(paths[0]) as file:
        at = file["image/data"].id.get_offset() + int(file["image/offsets"][2])
    data = bytearray(paths[0].read_bytes())
    data[at + 200] ^= 1
    paths[0].write_bytes(bytes(data))
    dataset = ShardDataset(paths)
    assert dataset.load_batch([1])["identity"][0, 0] == 1
    with pytest.raises(InputError, match="shard-0.h5: image of row 2 is damaged"):
        dataset.load_batch([2])


def test_files_that_do_not_belong_are_refused(paths, tmp_path):
    write_table(tmp_path / "other.h5", shard_table(10, 2, model="another"))
    with pytest.raises(InputError, match="other.h5: was made with another face model"):
        ShardDataset([*paths, tmp_path / "other.h5"])
    with pytest.raises(InputError, match="image 0000 of data set open is in .*shard-0.h5 too; give each shard once"):
        ShardDataset([*paths, paths[0]])
    with pytest.raises(InputError, match="no shard files"):
        ShardDataset([])
    paths[1].write_bytes(paths[1].read_bytes()[:3000])
    with pytest.raises(InputError, match="shard-1.h5: not a readable"):
        ShardDataset(paths)
