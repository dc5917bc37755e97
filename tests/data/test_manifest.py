"""Manifests of every adapter, and what is wrong with folders and files."""

import json
import shutil

import h5py
import numpy as np
import pytest

from facerecon.data.adapters import held_out_split
from facerecon.data.images import write_image
from facerecon.data.manifest import COLUMNS, read_manifest, save_manifest, write_manifest
from facerecon.errors import InputError

PICTURE = np.full((20, 20, 3), 90, np.uint8)


def synthetic_folder(path, subjects=(3, 4), photos=2):
    ids = [f"{subject:07d}_{photo:02d}" for subject in subjects for photo in range(photos)]
    for name in ids:
        write_image(path / "images" / f"{name}.jpg", PICTURE)
        write_image(path / "labels" / f"{name}.png", PICTURE[..., 0] % 19)
    with h5py.File(path / "ground_truth.h5", "w") as file:
        file["id"] = np.array([name.encode() for name in ids])
        file["subject"] = np.repeat(np.array(subjects, np.int64), photos)
    return ids


def test_synthetic(tmp_path):
    ids = synthetic_folder(tmp_path / "a") + synthetic_folder(tmp_path / "b", (5,))
    assert write_manifest("synthetic", "open", [tmp_path / "a", tmp_path / "b"], tmp_path / "manifest.csv") == 6
    manifest = read_manifest(tmp_path / "manifest.csv")
    assert [row.id for row in manifest.rows] == ids
    row = manifest.rows[3]
    assert (row.dataset, row.subject, json.loads(row.extra)) == ("open", "4", {"row": 3})
    assert row.path == str(tmp_path / "a/images/0000004_01.jpg") and row.labels.endswith("labels/0000004_01.png")
    assert row.landmarks == row.mesh == str(tmp_path / "a/ground_truth.h5")
    assert row.split == held_out_split("4") == manifest.rows[2].split


def test_paths_move_with_the_tree(tmp_path):
    synthetic_folder(tmp_path / "here" / "data")
    write_manifest("synthetic", "open", [tmp_path / "here" / "data"], tmp_path / "here" / "lists" / "manifest.csv")
    text = (tmp_path / "here" / "lists" / "manifest.csv").read_text()
    assert str(tmp_path) not in text and text.splitlines()[0] == ",".join(COLUMNS) and "\r" not in text
    shutil.move(tmp_path / "here", tmp_path / "there")
    manifest = read_manifest(tmp_path / "there" / "lists" / "manifest.csv")
    assert manifest.rows[0].path == str(tmp_path / "there/data/images/0000003_00.jpg")


def test_folder_is_searched_wholly(tmp_path):
    for name in ("b.png", "a/c.JPG", "a/d/e.jpeg", "notes.txt", ".hidden.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"x")
    write_manifest("folder", "mine", [tmp_path / "photos"], tmp_path / "m.csv")
    assert [row.id for row in read_manifest(tmp_path / "m.csv").rows] == ["a/c", "a/d/e", "b"]


def test_now(tmp_path):
    release = tmp_path / "now" / "NoW_Dataset" / "final_release_version"
    release.mkdir(parents=True)
    (tmp_path / "now" / "imagepathsvalidation.txt").write_text("S1/selfie/IMG_1.jpg\nS1/multiview_neutral/IMG_2.jpg\n")
    (tmp_path / "now" / "imagepathstest.txt").write_text("S2/selfie/IMG_9.jpg\n\n")
    (tmp_path / "now" / "scans" / "S1").mkdir(parents=True)
    (tmp_path / "now" / "scans" / "S1" / "scan.obj").write_text("v 0 0 0\n")
    write_manifest("now", "now", [tmp_path / "now"], tmp_path / "m.csv")
    rows = read_manifest(tmp_path / "m.csv").rows
    assert [(row.id, row.split, row.subject) for row in rows] == [
        ("S1/selfie/IMG_1", "validation", "S1"),
        ("S1/multiview_neutral/IMG_2", "validation", "S1"),
        ("S2/selfie/IMG_9", "test", "S2"),
    ]
    assert rows[0].path == str(release / "iphone_pictures/S1/selfie/IMG_1.jpg")
    assert rows[0].mesh.endswith("scans/S1/scan.obj") and rows[2].mesh == ""
    assert json.loads(rows[1].extra) == {"challenge": "multiview_neutral"}


def test_aflw2000(tmp_path):
    for name in ("image00002", "image00004"):
        write_image(tmp_path / "aflw" / f"{name}.jpg", PICTURE)
        (tmp_path / "aflw" / f"{name}.mat").write_bytes(b"x")
    write_manifest("aflw2000", "aflw2000", [tmp_path / "aflw"], tmp_path / "m.csv")
    rows = read_manifest(tmp_path / "m.csv").rows
    assert [row.id for row in rows] == ["image00002", "image00004"] and rows[1].landmarks.endswith("image00004.mat")
    (tmp_path / "aflw" / "image00004.mat").unlink()
    with pytest.raises(InputError, match="image00004.mat: is missing"):
        write_manifest("aflw2000", "aflw2000", [tmp_path / "aflw"], tmp_path / "m.csv")


def test_folders_at_fault_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for adapter, folder, words in (
        ("folder", "nowhere", "nowhere: no such folder"),
        ("folder", "file", "file: is not a folder"),
        ("folder", "empty", "empty: holds no images"),
        ("aflw2000", "empty", "empty: holds no images"),
        ("now", "empty", "empty: has neither"),
        ("synthetic", "empty", "ground_truth.h5: missing"),
        ("celeba", "empty", "adapter 'celeba' is unknown"),
    ):
        with pytest.raises(InputError, match=words):
            write_manifest(adapter, "x", [tmp_path / folder], tmp_path / "m.csv")
    with pytest.raises(InputError, match="no folder given"):
        write_manifest("folder", "x", [], tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()


def test_a_listed_image_that_is_not_there_is_named(tmp_path):
    synthetic_folder(tmp_path / "a")
    (tmp_path / "a" / "images" / "0000003_01.jpg").unlink()
    with pytest.raises(InputError, match="no image of 0000003_01"):
        write_manifest("synthetic", "open", [tmp_path / "a"], tmp_path / "m.csv")


def test_duplicate_ids_are_named(tmp_path):
    synthetic_folder(tmp_path / "a")
    synthetic_folder(tmp_path / "b")
    with pytest.raises(InputError, match="id 0000003_00 is there twice"):
        write_manifest("synthetic", "open", [tmp_path / "a", tmp_path / "b"], tmp_path / "m.csv")
    write_manifest("synthetic", "open", [tmp_path / "a"], tmp_path / "m.csv")
    rows = read_manifest(tmp_path / "m.csv").rows
    save_manifest([*rows, rows[1]], tmp_path / "twice.csv")
    with pytest.raises(InputError, match="twice.csv: id 0000003_01"):
        read_manifest(tmp_path / "twice.csv")


def test_malformed_manifests_are_named(tmp_path):
    header = ",".join(COLUMNS)
    for text, words in (
        ("", "first line must be"),
        ("a,b\n", "first line must be"),
        (f"{header}\n", "has no rows"),
        (f"{header}\n,x,train,p.jpg,,,,,\n", "line 2 needs"),
        (f"{header}\na,x,train\n", "line 2 needs"),
    ):
        (tmp_path / "m.csv").write_text(text)
        with pytest.raises(InputError, match=f"m.csv.*{words}"):
            read_manifest(tmp_path / "m.csv")
    with pytest.raises(InputError, match="none.csv: cannot be read"):
        read_manifest(tmp_path / "none.csv")


def test_shards_cut_the_rows(tmp_path):
    synthetic_folder(tmp_path / "a")
    write_manifest("synthetic", "open", [tmp_path / "a"], tmp_path / "m.csv")
    manifest = read_manifest(tmp_path / "m.csv")
    parts = [[row.id for row in manifest.shard(k, 3)] for k in range(2)]
    assert [len(part) for part in parts] == [3, 1] and [*parts[0], *parts[1]] == [row.id for row in manifest.rows]
    with pytest.raises(InputError, match="shard 2 of 3 rows does not exist"):
        manifest.shard(2, 3)


def test_the_held_out_split_is_about_five_percent():
    splits = [held_out_split(str(subject)) for subject in range(4000)]
    assert 0.03 < splits.count("validation") / 4000 < 0.07
