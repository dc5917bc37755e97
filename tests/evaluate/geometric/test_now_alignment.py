import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.evaluate.geometric.now_alignment import FaceMesh, crop_scan, scan_error
from facerecon.geometry.alignment import Similarity, rotation_vector_to_matrix

VARIANTS = [(protocol, metrical) for protocol in ("official", "corrected") for metrical in (False, True)]


def test_crop_by_hand():
    # Bridge (0, 40, 0), nose bottom at the origin: centre (0, 12, 0). Outer corners 100 apart: radius 1.4 (100 + 40)/2.
    landmarks = [[-50, 40, 0], [-20, 40, 0], [20, 40, 0], [50, 40, 0], [0, 0, 0], [-25, -30, 0], [25, -30, 0]]
    inside = [[97.9, 12, 0], [0, 12, -97.9], [0, 109.9, 0], *([[0, 12, 0]] * 10)]
    outside = [[98.1, 12, 0], [0, -86.2, 0], [0, 12, 98.1]]
    scan = crop_scan([outside[0], *inside, *outside[1:]], landmarks)
    np.testing.assert_allclose(scan.centre, [0, 12, 0], atol=1e-5)
    assert scan.radius == pytest.approx(98.0)
    np.testing.assert_array_equal(scan.points, inside)  # order kept


def test_crop_refuses_a_scan_elsewhere(head):
    with pytest.raises(InputError, match="one frame, in mm"):
        crop_scan(head.vertices + 1000, head.landmarks)
    with pytest.raises(ValueError, match=r"\(7, 3\)"):
        crop_scan(head.vertices, head.landmarks[:6])


@pytest.mark.parametrize(("protocol", "metrical"), VARIANTS)
def test_known_transform_is_recovered(head, protocol, metrical):
    """The scan itself, moved, turned and in metres: no error, and the placement is the inverse of the movement."""
    rotation, _ = rotation_vector_to_matrix(np.array([0.4, -0.7, 0.2]))
    moved = Similarity(1e-3, rotation, np.array([0.02, -0.05, 0.1]))
    scan = crop_scan(head.vertices, head.landmarks)
    prediction = FaceMesh(moved.apply(head.vertices), head.triangles, moved.apply(head.landmarks))
    result = scan_error(scan, prediction, protocol, metrical, "m")
    assert result.distances.max() < 1e-4
    assert result.placement.scale == pytest.approx(1000, rel=1e-6)
    np.testing.assert_allclose(result.placement.apply(moved.apply(head.vertices)), head.vertices, atol=1e-3)


@pytest.mark.parametrize(("protocol", "metrical"), VARIANTS)
def test_mirrored_prediction_is_mirrored_back(head, protocol, metrical):
    mirror = np.array([-1.0, 1.0, 1.0])
    scan = crop_scan(head.vertices, head.landmarks)
    result = scan_error(
        scan, FaceMesh(head.vertices * mirror, head.triangles, head.landmarks * mirror), protocol, metrical
    )
    assert result.distances.max() < 1e-4
    assert np.linalg.det(result.placement.rotation) == pytest.approx(-1)


@pytest.mark.parametrize("protocol", ["official", "corrected"])
def test_scale_is_fitted_only_when_not_metrical(head, protocol):
    scan = crop_scan(head.vertices, head.landmarks)
    shrunk = FaceMesh(head.vertices * 0.8, head.triangles, head.landmarks * 0.8)
    assert scan_error(scan, shrunk, protocol, metrical=False).distances.max() < 1e-4
    metrical = scan_error(scan, shrunk, protocol, metrical=True)
    assert metrical.placement.scale == 1
    assert metrical.distances.mean() > 1


@pytest.mark.parametrize("metrical", [False, True])
def test_protocols_agree_where_the_official_one_is_sound(head, coarse_head, metrical):
    scan = crop_scan(head.vertices, head.landmarks)
    prediction = FaceMesh(coarse_head.vertices, coarse_head.triangles, coarse_head.landmarks)
    official, corrected = (scan_error(scan, prediction, name, metrical).distances for name in ("official", "corrected"))
    assert 0.3 < np.median(official) < 2
    assert np.median(corrected) == pytest.approx(np.median(official), abs=0.002)
    assert corrected.mean() == pytest.approx(official.mean(), abs=0.0005)
    assert np.square(corrected).sum() <= np.square(official).sum() * (1 + 1e-9)


def test_far_origin_spoils_official_metrical_and_not_corrected(head, coarse_head):
    """A prediction 5 % too large: the official start's translation is wrong by 5 % of its origin's distance."""
    scan = crop_scan(head.vertices[::5], head.landmarks)
    results = {}
    for distance in (0.0, 1000.0):
        offset = np.array([0.0, 0.0, distance])
        prediction = FaceMesh(
            coarse_head.vertices * 1.05 + offset, coarse_head.triangles, coarse_head.landmarks * 1.05 + offset
        )
        for protocol in ("official", "corrected"):
            results[protocol, distance] = scan_error(scan, prediction, protocol, metrical=True).distances.mean()
    assert results["corrected", 1000.0] == pytest.approx(results["corrected", 0.0], abs=1e-6)
    assert results["official", 0.0] == pytest.approx(results["corrected", 0.0], abs=0.01)
    assert results["official", 1000.0] > results["official", 0.0] + 1


@pytest.mark.parametrize("metrical", [False, True])
def test_corrected_ends_at_a_minimum(head, coarse_head, metrical):
    """Moving the aligned prediction a little in any way only raises the sum of squares."""
    from facerecon.geometry.point_to_surface import point_to_surface

    scan = crop_scan(head.vertices, head.landmarks)
    prediction = FaceMesh(coarse_head.vertices, coarse_head.triangles, coarse_head.landmarks)
    result = scan_error(scan, prediction, "corrected", metrical)
    assert result.converged
    aligned = result.placement.apply(prediction.vertices)
    middle, lowest = scan.points.mean(axis=0), np.square(result.distances).sum()
    moves = [Similarity(1.0, np.eye(3), sign * step) for step in 0.02 * np.eye(3) for sign in (1, -1)]
    moves += [
        Similarity(1.0, rotation_vector_to_matrix(sign * axis)[0], np.zeros(3))
        for axis in 3e-4 * np.eye(3)
        for sign in (1, -1)
    ]
    if not metrical:
        moves += [Similarity(scale, np.eye(3), np.zeros(3)) for scale in (1.0003, 0.9997)]
    for move in moves:
        distances = point_to_surface(scan.points, move.apply(aligned - middle) + middle, prediction.triangles)[0]
        assert np.square(distances).sum() > lowest


def test_unknown_protocol_and_unit(head):
    scan = crop_scan(head.vertices, head.landmarks)
    prediction = FaceMesh(head.vertices, head.triangles, head.landmarks)
    with pytest.raises(ValueError, match="protocol"):
        scan_error(scan, prediction, "improved", metrical=False)
    with pytest.raises(ValueError, match="unit"):
        scan_error(scan, prediction, "official", metrical=True, unit="inch")
