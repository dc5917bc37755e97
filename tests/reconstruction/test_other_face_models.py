"""Reconstruction with a FLAME head, whose jaw turns, by networks that know the answers."""

import numpy as np
from portraits import KnowingNetworks, render_portrait
from published_models import load_flame_head

from facerecon.data.images import write_image
from facerecon.preprocess.landmark_fit import LandmarkBasis
from facerecon.reconstruct import reconstruct_photos
from facerecon.reconstruction.face import Reconstructor
from facerecon.report.gallery import reconstruction_sheet


def test_a_photograph_becomes_that_model_s_mesh(tmp_path) -> None:
    model = load_flame_head(tmp_path)
    networks = KnowingNetworks(model, [render_portrait(model, seed=1, yaw=0.2, spread=0.5)])
    portrait = networks.portraits[0]
    reconstructor = Reconstructor(model, LandmarkBasis.of(model), networks.finder, networks.regress, networks.parse)
    write_image(tmp_path / "anna.png", portrait.image)
    assert (
        reconstruct_photos([tmp_path / "anna.png"], tmp_path / "out", texture_size=128, reconstructor=reconstructor)
        == []
    )
    with np.load(tmp_path / "out/anna/reconstruction.npz") as arrays:
        found = dict(arrays)
    truth = model.decode(portrait.parameters.identity, portrait.parameters.expression)[0].numpy()
    assert np.sqrt(((found["vertices"] - truth) ** 2).sum(-1).mean()) < 1.0
    assert found["identity"].shape == (300,) and found["expression"].shape == (23,) and found["albedo"].shape == (4,)
    np.testing.assert_array_equal(found["triangles"], model.topology.triangles)
    reconstruction_sheet([tmp_path / "out/anna"], tmp_path / "sheet.png")
