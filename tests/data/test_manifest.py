"""Manifests of every adapter, and what is wrong with folders and files."""

import json
import shutil
import tracemalloc
import zlib
from dataclasses import replace

import h5py
import numpy as np
import pytest

from facerecon.data.adapters import ManifestRow, held_out
from facerecon.data.images import write_image
from facerecon.data.manifest import COLUMNS, read_manifest, read_rows, read_shard, save_manifest, write_manifest
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
    rows = read_manifest(tmp_path / "manifest.csv")
    assert [row.id for row in rows] == ids
    row = rows[3]
    assert (row.dataset, row.subject, json.loads(row.extra)) == ("open", "4", {"row": 3})
    assert row.path == str(tmp_path / "a/images/0000004_01.jpg") and row.labels.endswith("labels/0000004_01.png")
    assert row.landmarks == row.mesh == str(tmp_path / "a/ground_truth.h5")
    assert {row.subject for row in rows if row.split == "validation"} == held_out({"3", "4", "5"})


def test_paths_move_with_the_tree(tmp_path):
    synthetic_folder(tmp_path / "here" / "data")
    write_manifest("synthetic", "open", [tmp_path / "here" / "data"], tmp_path / "here" / "lists" / "manifest.csv")
    text = (tmp_path / "here" / "lists" / "manifest.csv").read_text()
    assert str(tmp_path) not in text and text.splitlines()[0] == ",".join(COLUMNS) and "\r" not in text
    shutil.move(tmp_path / "here", tmp_path / "there")
    rows = read_manifest(tmp_path / "there" / "lists" / "manifest.csv")
    assert rows[0].path == str(tmp_path / "there/data/images/0000003_00.jpg")


def test_folder_is_searched_wholly(tmp_path):
    for name in ("b.png", "a/c.JPG", "a/d/e.jpeg", "notes.txt", ".hidden.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"x")
    write_manifest("folder", "mine", [tmp_path / "photos"], tmp_path / "m.csv")
    assert [row.id for row in read_manifest(tmp_path / "m.csv")] == ["a/c", "a/d/e", "b"]


def test_now(tmp_path):
    release = tmp_path / "now" / "NoW_Dataset" / "final_release_version"
    release.mkdir(parents=True)
    (tmp_path / "now" / "imagepathsvalidation.txt").write_text("S1/selfie/IMG_1.jpg\nS1/multiview_neutral/IMG_2.jpg\n")
    (tmp_path / "now" / "imagepathstest.txt").write_text("S2/selfie/IMG_9.jpg\n\n")
    (tmp_path / "now" / "scans" / "S1").mkdir(parents=True)
    (tmp_path / "now" / "scans" / "S1" / "scan.obj").write_text("v 0 0 0\n")
    write_manifest("now", "now", [tmp_path / "now"], tmp_path / "m.csv")
    rows = read_manifest(tmp_path / "m.csv")
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
    rows = read_manifest(tmp_path / "m.csv")
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


def listed(out, folders) -> dict[str, str]:
    """Paths below the parent of `out` by id, of a manifest of folders of any images."""
    write_manifest("folder", "mine", folders, out)
    return {row.id: row.path.removeprefix(f"{out.parent}/") for row in read_manifest(out)}


def touch(*paths) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_images_that_differ_in_their_suffix_keep_it(tmp_path):
    touch(*(tmp_path / "photos" / name for name in ("a.jpg", "a.png", "b.jpg", "c.d.jpg")))
    assert listed(tmp_path / "m.csv", [tmp_path / "photos"]) == {
        "a.jpg": "photos/a.jpg", "a.png": "photos/a.png", "b": "photos/b.jpg", "c.d": "photos/c.d.jpg",
    }  # fmt: skip


def test_images_of_one_name_in_several_folders_are_told_apart(tmp_path):
    p, q, r = folders = [tmp_path / name for name in ("p", "q", "x/q")]
    touch(p / "0.jpg", p / "1.jpg", q / "0.jpg", r / "2.jpg")
    assert listed(tmp_path / "m.csv", [p, q]) == {"p/0": "p/0.jpg", "1": "p/1.jpg", "q/0": "q/0.jpg"}
    touch(r / "0.jpg")
    assert set(listed(tmp_path / "m.csv", [p, q])) == {"p/0", "q/0", "1"}
    inner = tmp_path.name
    assert set(listed(tmp_path / "m.csv", folders)) == {f"{inner}/p/0", f"{inner}/q/0", "x/q/0", "1", "2"}
    assert len({row.split for row in read_manifest(tmp_path / "m.csv") if row.id.endswith("/0")}) == 1
    synthetic_folder(tmp_path / "a")
    synthetic_folder(tmp_path / "b")
    write_manifest("synthetic", "open", [tmp_path / "a", tmp_path / "b"], tmp_path / "m.csv")
    ids = [row.id for row in read_manifest(tmp_path / "m.csv")]
    assert len(set(ids)) == 8 and {"a/0000003_00", "b/0000003_00"} <= set(ids)


def test_an_image_listed_twice_is_refused(tmp_path):
    touch(tmp_path / "photos" / "album" / "a.jpg")
    for folders in (["photos", "photos"], ["photos", "photos/album"]):
        with pytest.raises(InputError, match="album/a.jpg: is listed twice; name each folder once"):
            write_manifest("folder", "mine", [tmp_path / name for name in folders], tmp_path / "m.csv")


def test_ids_that_still_collide_are_refused_with_a_remedy(tmp_path):
    touch(*(tmp_path / "photos" / name for name in ("a.jpg", "a.png", "a.jpg.png")))
    with pytest.raises(InputError, match=r"id photos/a.jpg is there twice, .*a.jpg and .*a.jpg.png; rename one"):
        write_manifest("folder", "mine", [tmp_path / "photos"], tmp_path / "m.csv")


def test_repeated_ids_are_noticed_when_read(tmp_path):
    synthetic_folder(tmp_path / "a")
    write_manifest("synthetic", "open", [tmp_path / "a"], tmp_path / "m.csv")
    rows = read_manifest(tmp_path / "m.csv")
    save_manifest([*rows, rows[1]], tmp_path / "twice.csv")
    assert read_shard(tmp_path / "twice.csv", 0, 4) == rows
    for read in (
        lambda path: read_manifest(path),
        lambda path: read_shard(path, 0, 5),
        lambda path: read_rows(path, [rows[1].id]),
    ):
        with pytest.raises(InputError, match="twice.csv: id 0000003_01"):
            read(tmp_path / "twice.csv")


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
    rows = read_manifest(tmp_path / "m.csv")
    parts = [read_shard(tmp_path / "m.csv", k, 3) for k in range(2)]
    assert [len(part) for part in parts] == [3, 1] and [*parts[0], *parts[1]] == rows
    with pytest.raises(InputError, match="shard 2 of 3 rows does not exist"):
        read_shard(tmp_path / "m.csv", 2, 3)
    assert read_rows(tmp_path / "m.csv", [rows[2].id, "absent"]) == {rows[2].id: rows[2]}


def test_a_shard_of_a_long_manifest_takes_little_memory(tmp_path):
    row = ManifestRow("", "mine", "train", "photographs/of/somebody.jpg", extra='{"row": 1}')
    save_manifest((replace(row, id=f"image{number:06d}") for number in range(20_000)), tmp_path / "m.csv")
    for read in (
        lambda: read_shard(tmp_path / "m.csv", 150, 100),
        lambda: list(
            read_rows(tmp_path / "m.csv", [f"image{number:06d}" for number in range(15_000, 15_100)]).values()
        ),
    ):
        tracemalloc.start()
        rows = read()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert rows[0].id == "image015000" and len(rows) == 100
        assert peak < 1e6  # bytes; all rows take ten times as much


def test_about_five_percent_are_held_out_whatever_else_there_is():
    held = held_out({str(subject) for subject in range(4000)})
    assert 0.03 < len(held) / 4000 < 0.07
    assert held_out({str(subject) for subject in range(2000)}) == {name for name in held if int(name) < 2000}


def test_of_few_images_one_is_held_out_and_one_is_not(tmp_path):
    assert held_out({"a"}) == held_out(set()) == set()
    checksums = {f"IMG_{k:04d}": zlib.crc32(f"IMG_{k:04d}".encode()) for k in range(1, 11)}
    assert all(value % 100 >= 5 for value in checksums.values())
    assert held_out(set(checksums)) == {min(checksums, key=checksums.get)}
    both = {str(subject) for subject in range(4000) if zlib.crc32(str(subject).encode()) % 100 < 5}
    assert len(held_out(set(list(both)[:2]))) == 1
    touch(*(tmp_path / "photos" / f"{name}.jpg" for name in checksums))
    listed(tmp_path / "m.csv", [tmp_path / "photos"])
    assert [row.split for row in read_manifest(tmp_path / "m.csv")].count("validation") == 1
