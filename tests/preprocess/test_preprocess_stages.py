"""The four stages from manifest to shard, with networks that know the answers."""

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
from portraits import KnowingNetworks, crop_mask, render_portrait

from facerecon.data.images import write_image
from facerecon.data.manifest import read_manifest, save_manifest, write_manifest
from facerecon.data.shards import ShardDataset
from facerecon.data.tables import read_table
from facerecon.errors import InputError
from facerecon.geometry.crop import crop_transform
from facerecon.morphable.storage import load_face_model
from facerecon.preprocess import fit, landmarks, parsing, shard
from facerecon.preprocess.landmark_fit import LandmarkBasis
from facerecon.provenance import read_provenance


def embed(crops: np.ndarray) -> np.ndarray:
    means = crops.reshape(len(crops), -1, 3).mean(1)
    return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def networks() -> KnowingNetworks:
    model = load_face_model(level=1)
    return KnowingNetworks(model, [render_portrait(model, seed, yaw=0.2 * seed - 0.3) for seed in range(4)])


def write_photographs(folder, networks):
    """Four portraits, a picture without a face and a truncated one, with their manifest."""
    for number, portrait in enumerate(networks.portraits):
        write_image(folder / "photos" / f"face{number}.png", portrait.image)
    write_image(folder / "photos" / "sky.png", np.full((60, 60, 3), 200, np.uint8))
    whole = (folder / "photos" / "face0.png").read_bytes()
    (folder / "photos" / "torn.png").write_bytes(whole[: len(whole) // 2])
    write_manifest("folder", "mine", [folder / "photos"], folder / "manifest.csv")
    return folder


@pytest.fixture
def folder(tmp_path, networks):
    return write_photographs(tmp_path, networks)


@pytest.fixture(scope="module")
def chain(tmp_path_factory, networks):
    """A folder in which all stages have run; tests only read it."""
    folder = write_photographs(tmp_path_factory.mktemp("chain"), networks)
    run_all(folder, networks)
    return folder


def run_all(folder, networks, limit: float = 0.5) -> None:
    manifest = folder / "manifest.csv"
    landmarks.run(manifest, 0, 6, folder / "landmarks.h5", max_rejected_fraction=limit, finder=networks.finder)
    order = iter(networks.portraits)

    def parse(crop):
        networks.current = next(order)
        return networks.parse(crop)

    parsing.run(manifest, folder / "landmarks.h5", folder / "masks.h5", parse=parse)
    fit.run(folder / "landmarks.h5", folder / "fit.h5")
    shard.run(
        manifest, folder / "landmarks.h5", folder / "masks.h5", folder / "fit.h5", folder / "shard.h5", embed=embed
    )


def test_the_chain_ends_in_a_shard_that_training_reads(chain, networks):
    dataset = ShardDataset([chain / "shard.h5"])
    assert dataset.ids == [f"face{k}" for k in range(4)]
    batch = dataset.load_batch(range(4))
    mean = LandmarkBasis.of(networks.model).mean.numpy()
    for k, portrait in enumerate(networks.portraits):
        crop = crop_transform(portrait.landmarks, mean)
        assert np.abs(batch["landmarks"][k] - crop.to_crop(portrait.landmarks)).max() < 1e-2
        assert batch["crop_scale"][k] == pytest.approx(crop.scale, rel=1e-6)
        error = np.abs(batch["image"][k].astype(int) - crop.warp(portrait.image))
        assert error.mean() < 2.0
        assert np.array_equal(batch["labels"][k], crop_mask(crop, portrait.mask))
        assert np.abs(batch["rotation"][k] - portrait.parameters.rotation[0].numpy()).max() < 0.12
    assert batch["confidence"] == pytest.approx(np.full((4, 68), 0.8))
    assert np.linalg.norm(batch["feature"], axis=1) == pytest.approx(np.ones(4), rel=1e-5)


def test_synthetic_photographs_bring_their_true_shape(chain, networks, tmp_path):
    rows = read_manifest(chain / "manifest.csv")
    with h5py.File(tmp_path / "ground_truth.h5", "w") as file:
        file.attrs["face_model_sha256"] = networks.model.sha256
        file["identity"] = np.full((4, 80), 0.25, np.float32)
        file["expression"] = np.full((4, 64), -0.5, np.float32)
    known = [
        replace(row, mesh=str(tmp_path / "ground_truth.h5"), extra='{"row": 2}') for row in rows if row.id == "face1"
    ]
    save_manifest([*known, *(row for row in rows if row.id != "face1")], tmp_path / "manifest.csv")
    tables = [chain / f"{name}.h5" for name in ("landmarks", "masks", "fit")]
    shard.run(tmp_path / "manifest.csv", *tables, tmp_path / "shard.h5", embed=embed)
    joined, fitted = read_table(tmp_path / "shard.h5", "shard"), read_table(chain / "fit.h5", "fit")
    assert joined.columns["true_shape"].tolist() == [name == "face1" for name in joined.ids]
    for number, name in enumerate(joined.ids):
        own = fitted.columns["identity"][fitted.ids.index(name)]
        assert np.array_equal(joined.columns["identity"][number], np.full(80, 0.25) if name == "face1" else own)
    with h5py.File(tmp_path / "ground_truth.h5", "r+") as file:
        file.attrs["face_model_sha256"] = "another"
    shard.run(tmp_path / "manifest.csv", *tables, tmp_path / "shard.h5", embed=embed)
    assert not read_table(tmp_path / "shard.h5", "shard").columns["true_shape"].any()


def test_what_was_left_out_is_told_with_its_reason(chain):
    for name, kind in (("landmarks", "landmarks"), ("masks", "masks"), ("fit", "fit"), ("shard", "shard")):
        rejected = {row.id: row for row in read_table(chain / f"{name}.h5", kind).rejected}
        assert set(rejected) == {"sky", "torn"}
        assert rejected["sky"].stage == "landmarks" and rejected["sky"].reason == "no face was found"
        assert "truncated" in rejected["torn"].reason and str(chain) not in rejected["torn"].reason


def test_equal_runs_give_equal_files_that_say_where_they_come_from(chain, folder, networks):
    run_all(folder, networks)
    for name in ("landmarks.h5", "masks.h5", "fit.h5", "shard.h5"):
        assert (folder / name).read_bytes() == (chain / name).read_bytes()
    record = read_provenance(folder / "shard.h5")
    assert record["stage"] == "preprocess.shard" and set(record["inputs"]) == {"manifest", "landmarks", "masks", "fit"}


def test_too_many_rejections_fail_the_stage_and_leave_no_file(folder, networks):
    rows = read_manifest(folder / "manifest.csv")
    sky = next(row for row in rows if row.id == "sky")
    save_manifest([*rows, *(replace(sky, id=f"sky{number}") for number in range(14))], folder / "manifest.csv")
    with pytest.raises(InputError, match="16 of 20 images rejected, limit 75%.*15 x no face was found"):
        landmarks.run(folder / "manifest.csv", 0, 20, folder / "landmarks.h5", None, 0.75, finder=networks.finder)
    assert not (folder / "landmarks.h5").exists()
    landmarks.run(folder / "manifest.csv", 0, 20, folder / "landmarks.h5", None, 0.8, finder=networks.finder)
    assert len(read_table(folder / "landmarks.h5", "landmarks").ids) == 4


def test_a_small_shard_of_nothing_but_rejected_photographs_goes_through_all_stages(chain, tmp_path, networks, capsys):
    shutil.copytree(chain, tmp_path, dirs_exist_ok=True)
    landmarks.run(tmp_path / "manifest.csv", 1, 4, tmp_path / "landmarks.h5", None, 0.0, finder=networks.finder)
    assert "manifest.csv, shard 1: 2 of 2 images rejected: 1 x no face was found" in capsys.readouterr().err
    parsing.run(tmp_path / "manifest.csv", tmp_path / "landmarks.h5", tmp_path / "masks.h5", parse=networks.parse)
    fit.run(tmp_path / "landmarks.h5", tmp_path / "fit.h5")
    tables = [tmp_path / f"{name}.h5" for name in ("landmarks", "masks", "fit")]
    shard.run(tmp_path / "manifest.csv", *tables, tmp_path / "empty.h5", embed=embed)
    empty, full = read_table(tmp_path / "empty.h5", "shard"), read_table(chain / "shard.h5", "shard")
    assert empty.ids == [] and {row.id for row in empty.rejected} == {"sky", "torn"}
    assert empty.columns.keys() == full.columns.keys() and empty.blobs.keys() == full.blobs.keys()
    for name, values in full.columns.items():
        same = name == "feature" or empty.columns[name].shape[1:] == values.shape[1:]
        assert same and empty.columns[name].dtype.kind == values.dtype.kind
    assert empty.columns["feature"].shape == (0, 512)
    assert len(ShardDataset([tmp_path / "empty.h5", chain / "shard.h5"])) == 4


def test_a_crop_without_skin_is_rejected(folder, networks):
    manifest = folder / "manifest.csv"
    landmarks.run(manifest, 0, 4, folder / "landmarks.h5", finder=networks.finder)
    calls = iter(range(4))

    def parse(crop):
        return np.full((224, 224), 17 if next(calls) == 1 else 1, np.uint8)

    parsing.run(manifest, folder / "landmarks.h5", folder / "masks.h5", parse=parse)
    table = read_table(folder / "masks.h5", "masks")
    assert table.ids == ["face0", "face2", "face3"]
    assert [(row.id, row.stage) for row in table.rejected] == [("face1", "parsing")]
    fit.run(folder / "landmarks.h5", folder / "fit.h5")
    shard.run(
        manifest, folder / "landmarks.h5", folder / "masks.h5", folder / "fit.h5", folder / "shard.h5", embed=embed
    )
    assert ShardDataset([folder / "shard.h5"]).ids == table.ids


def test_tables_of_different_shards_are_not_joined(chain, folder, networks):
    landmarks.run(folder / "manifest.csv", 0, 2, folder / "landmarks.h5", finder=networks.finder)
    with pytest.raises(InputError, match="masks.h5: holds images that .*landmarks.h5 has not"):
        tables = [folder / "landmarks.h5", chain / "masks.h5", chain / "fit.h5"]
        shard.run(folder / "manifest.csv", *tables, folder / "s.h5", embed=embed)
    shutil.move(folder / "photos" / "face1.png", folder / "photos" / "renamed.png")
    write_manifest("folder", "mine", [folder / "photos"], folder / "other.csv")
    with pytest.raises(InputError, match="other.csv: has no row of face1"):
        parsing.run(folder / "other.csv", folder / "landmarks.h5", folder / "m.h5", parse=networks.parse)


def test_scattered_landmarks_are_no_face(folder, networks):
    landmarks.run(folder / "manifest.csv", 0, 4, folder / "landmarks.h5", finder=networks.finder)
    portraits = [*networks.portraits]
    rng = np.random.default_rng(0)
    shuffled = portraits[2].__class__(
        portraits[2].image, rng.permutation(portraits[2].landmarks), portraits[2].mask, portraits[2].parameters
    )
    broken = KnowingNetworks(networks.model, [*portraits[:2], shuffled, portraits[3]])
    landmarks.run(folder / "manifest.csv", 0, 4, folder / "landmarks.h5", finder=broken.finder)
    fit.run(folder / "landmarks.h5", folder / "fit.h5")
    rejected = read_table(folder / "fit.h5", "fit").rejected
    assert [(row.id, row.stage) for row in rejected] == [("face2", "fit")] and "residual" in rejected[0].reason
