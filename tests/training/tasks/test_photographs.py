import shutil

import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.training.tasks.photographs import PhotographStore, ShuffledIndices

SUBJECTS, PHOTOS, SIZE = 8, 3, 96  # of the toy folder


def test_store_reads_all_shards(toy_folder, tmp_path, write_toy):
    second = write_toy(tmp_path / "shard-1", subjects=2, photos=2, seed=1)
    store = PhotographStore([toy_folder, second])
    assert len(store) == SUBJECTS * PHOTOS + 4
    assert store.image(0).shape == (SIZE, SIZE, 3) and store.labels(0).shape == (SIZE, SIZE)
    assert store.labels(0).max() == 12
    assert store.card()["photographs"] == len(store) and store.face_model_sha256 == "f" * 64
    assert store.sha256 != PhotographStore([toy_folder]).sha256


def test_images_are_rgb(toy_folder):
    store = PhotographStore([toy_folder])
    lips = np.concatenate([store.image(k)[store.labels(k) == 12] for k in range(len(store))]).mean(0)
    assert lips[0] > 2 * lips[2]  # drawn (180, 60, 70): red


def test_split_is_by_subject_and_independent_of_the_shards(toy_folder, tmp_path, write_toy):
    more = write_toy(tmp_path / "shard-1", subjects=40, photos=1, seed=1)
    store = PhotographStore([more])
    training, validation = store.split(0.3, 100)
    assert not set(store.subjects[training]) & set(store.subjects[validation])
    assert len(training) + len(validation) == len(store)
    other = PhotographStore([toy_folder])
    held_out = set(other.subjects[other.split(0.3, 100)[1]])
    assert held_out == set(store.subjects[validation]) & set(range(SUBJECTS))
    assert len(store.split(0.3, 2)[1]) == 2
    assert len(np.unique(store.subjects[store.split(1e-9, 100)[1]])) == 1  # never empty


def test_refuses_missing_data(tmp_path, toy_folder, write_toy):
    with pytest.raises(InputError, match="synthesize some"):
        PhotographStore([])
    with pytest.raises(InputError):
        PhotographStore([tmp_path])
    copy = tmp_path / "copy"
    shutil.copytree(toy_folder, copy)
    (copy / "images" / "0000003_01.jpg").unlink()
    with pytest.raises(InputError, match=r"0000003_01\.jpg: missing"):
        PhotographStore([copy])
    single = write_toy(tmp_path / "single", subjects=1)
    with pytest.raises(InputError, match="too few"):
        PhotographStore([single]).split(0.1, 10)


def test_shuffled_indices_are_rounds_of_permutations():
    sequence = ShuffledIndices(np.arange(10) * 3, seed=5)
    taken = sequence.take(0, 30)
    for number in range(3):
        assert sorted(taken[10 * number : 10 * number + 10]) == list(range(0, 30, 3))
    assert (taken[:10] != taken[10:20]).any()
    # any piece, in any order, is the same piece
    np.testing.assert_array_equal(ShuffledIndices(np.arange(10) * 3, seed=5).take(7, 16), taken[7:23])
