import shutil

import cv2
import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.training.tasks.photographs import PhotographStore, ShuffledIndices, photographs_card, standardised

SUBJECTS, PHOTOS, SIZE = 8, 3, 96  # of the toy folder


def test_store_reads_all_shards(toy_folder, tmp_path, write_toy):
    second = write_toy(tmp_path / "shard-1", subjects=2, photos=2, seed=1)
    store = PhotographStore([toy_folder, second])
    assert len(store) == SUBJECTS * PHOTOS + 4
    assert store.image(0).shape == (SIZE, SIZE, 3) and store.labels(0).shape == (SIZE, SIZE)
    assert store.labels(0).max() == 12
    assert store.card()["photographs"] == len(store) and store.face_model_sha256 == "f" * 64
    assert store.sha256 != PhotographStore([toy_folder]).sha256
    card = store.card()
    assert card["people"] == {"0": [[0, SUBJECTS - 1]], "1": [[0, 1]]} and len(set(card["shards_sha256"])) == 2
    assert photographs_card([toy_folder, second]) == card


def test_people_of_different_seeds_are_different_people(toy_folder, tmp_path, write_toy):
    second = write_toy(tmp_path / "shard-1", subjects=2, photos=2, seed=1)
    third = write_toy(tmp_path / "shard-2", subjects=2, photos=1, seed=1, first_subject=2)
    store = PhotographStore([second, toy_folder, third])
    assert store.people == [(0, number) for number in range(SUBJECTS)] + [(1, number) for number in range(4)]
    assert store.subjects[:4].tolist() == [8, 8, 9, 9] and store.subjects[-2:].tolist() == [10, 11]
    assert store.subjects[4:-2].tolist() == np.repeat(np.arange(SUBJECTS), PHOTOS).tolist()
    training, _ = store.split(0.3, 100)
    sides = {person: index in set(training) for index, person in enumerate(store.subjects)}
    assert sides[0] == sides[8] and sides[1] == sides[9]  # who validates goes by the number alone


def test_a_photograph_given_twice_is_refused(toy_folder, tmp_path):
    shutil.copytree(toy_folder, tmp_path / "copy")
    with pytest.raises(InputError, match=r"copy: photograph 0000000_00 of seed 0 is in .*shard-0 too"):
        PhotographStore([toy_folder, tmp_path / "copy"])


def test_traits_are_bounded(toy_folder):
    store = PhotographStore([toy_folder])
    assert abs(store.traits.mean()) < 0.05 and 2 < np.abs(store.traits).max() <= 3
    traits = np.zeros((100, 2), np.float32)
    traits[0] = 50  # one who lies 10 standard deviations out
    np.testing.assert_allclose(standardised(traits)[0], 3)


def test_damaged_pictures_are_named(toy_folder, tmp_path):
    shutil.copytree(toy_folder, tmp_path / "copy")
    photo, labels = tmp_path / "copy" / "images" / "0000000_01.jpg", tmp_path / "copy" / "labels" / "0000000_02.png"
    photo.write_bytes(photo.read_bytes()[:-200])
    cv2.imwrite(str(labels), np.zeros((SIZE, SIZE - 1), np.uint8))
    store = PhotographStore([tmp_path / "copy"])
    assert store.image(0).shape == store.image(2).shape
    with pytest.raises(InputError, match=r"0000000_01\.jpg: the image is truncated"):
        store.image(1)
    with pytest.raises(InputError, match=r"0000000_02\.png: 95x96 pixels, not the 96x96"):
        store.labels(2)
    photo.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0000000_01\.jpg: not an image"):
        PhotographStore([tmp_path / "copy"]).image(1)


def test_mattes_are_read_where_a_shard_has_them(toy_folder, tmp_path, write_toy):
    second = write_toy(tmp_path / "shard-1", subjects=1, photos=2, seed=1)
    (second / "mattes").mkdir()
    for number in range(2):
        cv2.imwrite(str(second / "mattes" / f"0000000_{number:02d}.png"), np.full((SIZE, SIZE), number, np.uint8))
    store = PhotographStore([toy_folder, second])
    assert store.matte(0) is None and (store.matte(len(store) - 1) == 1).all()
    (second / "mattes" / "0000000_00.png").unlink()
    with pytest.raises(InputError, match=r"mattes.0000000_00\.png: no such file; make the photographs again"):
        PhotographStore([second])


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
    with pytest.raises(InputError, match=r"0000003_01\.jpg: no such file; make the photographs again"):
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
    assert sequence.take(4, 0).shape == (0,)
