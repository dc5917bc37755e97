import numpy as np
import pytest

from facerecon.morphable import mesh_regions
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.regions import symmetric_regions
from facerecon.morphable.topology import REGIONS


def test_loss_regions_part_the_mesh_and_mirror_exactly(face_model: LinearFaceModel) -> None:
    topology = face_model.topology
    regions = mesh_regions.loss_regions(topology)
    assert tuple(regions) == mesh_regions.LOSS_REGIONS
    np.testing.assert_array_equal(np.sum(list(regions.values()), axis=0), 1)
    for name, mask in regions.items():
        assert mask.any(), name
        np.testing.assert_array_equal(mask[topology.mirror], mask, err_msg=name)


def test_loss_weights_are_each_regions_own(face_model: LinearFaceModel) -> None:
    regions = mesh_regions.loss_regions(face_model.topology)
    weights = mesh_regions.loss_weights(face_model.topology)
    assert weights.dtype == np.float32 and weights.shape == regions["eye"].shape
    assert set(np.unique(weights[regions["eye"]])) == {np.float32(0.01)}
    other = mesh_regions.loss_weights(face_model.topology, dict(zip(mesh_regions.LOSS_REGIONS, range(5), strict=True)))
    for value, name in enumerate(mesh_regions.LOSS_REGIONS):
        assert (other[regions[name]] == value).all()
    with pytest.raises(ValueError, match="see cheek"):
        mesh_regions.loss_weights(face_model.topology, {**mesh_regions.LOSS_WEIGHTS, "cheek": 1.0})


def test_symmetric_regions_take_the_first_claim() -> None:
    regions = {name: np.zeros(4, dtype=bool) for name in REGIONS}
    regions["skin"][:2], regions["lips"][2], regions["nose"][3] = True, True, True
    mirrored = symmetric_regions(regions, np.array([1, 0, 3, 2]))
    assert mirrored["skin"].tolist() == [True, True, False, False]
    assert mirrored["lips"].tolist() == [False, False, True, True] and not mirrored["nose"].any()


def test_crops_are_symmetric_and_nested(face_model: LinearFaceModel) -> None:
    masks = {name: mesh_regions.crop(face_model, name) for name in mesh_regions.CROPS}
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask[face_model.topology.mirror], mask, err_msg=name)
    assert masks["face"].all()
    assert (masks["flame_face"] <= masks["skin"]).all() and masks["flame_face"].mean() > 0.8
    eyes = masks["face"] & ~masks["skin"]
    assert not masks["flame_face"][eyes].any() and masks["bfm_face"][eyes].all()
    tip = face_model.landmarks(face_model.mean[None])[0, 30]
    reach = (face_model.mean[masks["bfm_face"]] - tip).norm(dim=1)
    assert 94 < reach.max() < 95.1
    with pytest.raises(ValueError, match="no crop 'ear'"):
        mesh_regions.crop(face_model, "ear")


def test_landmarks_lie_in_the_flame_crop_but_for_the_edge(face_model: LinearFaceModel) -> None:
    inside = mesh_regions.crop(face_model, "flame_face")[face_model.topology.landmark_vertices].all(1)
    assert inside[17:].all()
