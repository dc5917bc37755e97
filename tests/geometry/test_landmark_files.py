from pathlib import Path

import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.geometry.landmark_files import read_landmarks

POINTS = np.random.default_rng(0).normal(0, 40, (68, 3)).round(3)


def picked_points(points: np.ndarray, missing: tuple[int, ...] = ()) -> str:
    rows = [
        f' <point x="{x}" y="{y}" z="{z}" name="{k}" active="{int(k not in missing)}"/>'
        for k, (x, y, z) in enumerate(points)
    ]
    return "\n".join(["<!DOCTYPE PickedPoints>", "<PickedPoints>", *rows, "</PickedPoints>"])


@pytest.mark.parametrize("count", [7, 68])
def test_every_kind_of_file_gives_the_points(tmp_path: Path, count: int) -> None:
    points = POINTS[:count]
    np.save(tmp_path / "a.npy", points)
    (tmp_path / "a.txt").write_text("# x y z\n" + "\n".join(f"{x} {y} {z}" for x, y, z in points) + "\n\n")
    (tmp_path / "comma.TXT").write_text("\n".join(f"{x}, {y}, {z}" for x, y, z in points))
    (tmp_path / "a.pp").write_text(picked_points(points))
    for name in ("a.npy", "a.txt", "comma.TXT", "a.pp"):
        np.testing.assert_allclose(read_landmarks(tmp_path / name), points)


def test_points_that_were_not_picked_are_nan(tmp_path: Path) -> None:
    (tmp_path / "a.pp").write_text(picked_points(POINTS[:7], missing=(2,)))
    found = read_landmarks(tmp_path / "a.pp")
    assert np.isnan(found[2]).all() and np.isfinite(found[[0, 1, 3, 4, 5, 6]]).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"[]", "not a landmark file that can be read"),
        ("a.txt", b"1 2 3\n4 5 6\n", "holds 2 x 3 numbers, 7 or 68"),
        ("a.txt", b"1 2 3\n4 5\n", "does not hold landmarks"),
        ("a.txt", b"", "holds 0 numbers"),
        ("a.txt", b"\xff\xfe", "does not hold landmarks"),
        ("a.pp", b"<PickedPoints><point x='1' y='2'/></PickedPoints>", "does not hold landmarks"),
        ("a.pp", b"1 2 3", "does not hold landmarks"),
        ("a.npy", b"\x93NUMPY", "does not hold landmarks"),
    ],
)
def test_other_content_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_landmarks(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)


def test_arrays_of_objects_and_missing_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="does not hold landmarks"):
        read_landmarks(tmp_path / "a.npy")
    with pytest.raises(InputError, match="no such file"):
        read_landmarks(tmp_path / "b.npy")
