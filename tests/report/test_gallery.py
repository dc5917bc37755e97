import cv2
import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.morphable.storage import load_face_model
from facerecon.report.gallery import TILE, reconstruction_sheet, textured_view


@pytest.fixture(scope="module")
def mesh():
    model = load_face_model(level=1)
    return model.mean.numpy(), model.topology.triangles, model.topology.uv


def test_a_texture_that_differs_by_side_shows_on_that_side(mesh):
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:, :32, 2], texture[:, 32:, 1] = 200, 200  # u < 0.5, the image's left: red (BGR)
    view = textured_view(*mesh, texture, 0.0)
    assert view[TILE // 2, TILE // 2 - 40].tolist() == [0, 0, 200]
    assert view[TILE // 2, TILE // 2 + 40].tolist() == [0, 200, 0]
    # Positive yaw turns the nose to the image's right: more of the subject's right side is seen.
    turned = textured_view(*mesh, texture, 0.8)
    assert (turned[..., 2] == 200).sum() > 2 * (turned[..., 1] == 200).sum()


def test_sheet_has_a_row_a_reconstruction(tmp_path, mesh):
    folder = tmp_path / "anna"
    folder.mkdir()
    vertices, triangles, uv = mesh
    points = np.random.default_rng(0).uniform([20, 10], [60, 40], (68, 2))
    np.savez(folder / "reconstruction.npz", vertices=vertices, triangles=triangles, uv=uv, landmarks_2d=points)
    for name, shape in (("overlay", (50, 80, 3)), ("texture", (32, 32, 3)), ("albedo", (32, 32, 3))):
        cv2.imwrite(str(folder / f"{name}.png"), np.full(shape, 120, np.uint8))
    reconstruction_sheet([folder, folder], tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (2 * TILE, 5 * TILE, 3)


def test_bad_folders_and_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="no reconstruction"):
        reconstruction_sheet([tmp_path], tmp_path / "sheet.png")
    with pytest.raises(InputError, match="given"):
        reconstruction_sheet([], tmp_path / "sheet.png")
    with pytest.raises(InputError, match=r"\.png"):
        reconstruction_sheet([tmp_path], tmp_path / "sheet.txt")
    assert not (tmp_path / "sheet.png").exists()
