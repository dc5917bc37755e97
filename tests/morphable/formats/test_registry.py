from pathlib import Path

import numpy as np
import pytest
from publisher_files import flame_content, save_pickle

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
