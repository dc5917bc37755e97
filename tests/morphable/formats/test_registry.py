from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from publisher_files import flame_content, landmark_places, save_pickle

from facerecon.errors import InputError
from facerecon.morphable.formats.registry import READERS, read_source_model


def test_formats_are_read_by_name(tmp_path: Path) -> None:
    path = save_pickle(tmp_path / "generic_model.pkl", flame_content(np.random.default_rng(0), size=5))
    assert read_source_model("flame", [path]).name == "FLAME (generic_model)"


def test_unknown_format_is_refused() -> None:
    with pytest.raises(InputError, match="bfm2008: unknown format; one of bfm2009"):
        read_source_model("bfm2008", [])


@pytest.mark.parametrize("name", READERS)
def test_no_files_and_files_of_others_are_refused(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", nothing=np.zeros(3))
    for files in ([], [tmp_path / "other.npz"], [tmp_path / "none.pkl"]):
        with pytest.raises(InputError) as caught:
            read_source_model(name, files)
        assert "\n" not in str(caught.value)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """The record of a model's sources is by name."""
    content = flame_content(np.random.default_rng(0), size=5)
    (tmp_path / "other").mkdir()
    model = save_pickle(tmp_path / "flame.pkl", content)
    names = ("lmk_face_idx", "lmk_b_coords")
    places = landmark_places(np.random.default_rng(1), (51,), 32)
    static = save_pickle(tmp_path / "other" / "flame.pkl", dict(zip(names, places, strict=True)))
    with pytest.raises(InputError, match=r"other/flame\.pkl: has the name of .*flame\.pkl; rename one"):
        read_source_model("flame", [model, static])


def test_files_larger_than_memory_end_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(files: list[Path]) -> None:
        raise MemoryError

    monkeypatch.setitem(READERS, "flame", too_large)
    with pytest.raises(InputError, match=r"large\.pkl: takes more memory than there is"):
        read_source_model("flame", ["large.pkl"])


def test_small_files_that_claim_gigabytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before they are unpacked: 6 GB of zeros pack into 6 MB."""
    monkeypatch.setattr("facerecon.morphable.formats.files.LARGE", 1 << 20)
    path = tmp_path / "bomb.npz"
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
    np.savez_compressed(path, **dict.fromkeys(names, np.zeros((1_000_000, 3))))
    with pytest.raises(InputError, match=r"bomb\.npz: v_template would take 0\.0 GB"):
        read_source_model("flame", [path])
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("shape/model/mean", shape=(3, 10**11), dtype="f8", chunks=(3, 1000))
    with pytest.raises(InputError, match=r"bomb\.h5: /shape/model/mean would take 2400\.0 GB"):
        read_source_model("bfm2017", [path])
    path = tmp_path / "bomb.mat"
    scipy.io.savemat(path, {"shapeMU": np.zeros(1_000_000)}, do_compression=True)
    with pytest.raises(InputError, match=r"bomb\.mat: shapeMU would take 0\.0 GB"):
        read_source_model("bfm2009", [path])
