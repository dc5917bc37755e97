from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from published_models import converted, load_flame_head
from toy_faces import ToyModel, remeshed, toy_model

from facerecon.errors import InputError
from facerecon.geometry.alignment import Similarity, rotation_vector_to_matrix
from facerecon.geometry.point_to_surface import Surface
from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.published import PublishedFaceModel
from facerecon.morphable.registration import RegisteredScan, distances_to_mesh, register_scan
from facerecon.morphable.scan_surface import ScanSurface, mesh_normals
from facerecon.morphable.source_model import SourceModel
from facerecon.morphable.topology import NOW_LANDMARKS

PLACE = Similarity(1.0, rotation_vector_to_matrix(np.array([0.3, -0.5, 0.2]))[0], np.array([40.0, -900.0, 310.0]))


@dataclass(frozen=True)
class Scan:
    """A scan whose truth is known: its mesh, landmarks (7, 3) and the model's vertices (V, 3) on the clean surface."""

    vertices: NDArray
    triangles: NDArray
    landmarks: NDArray
    truth: NDArray
    clean: Surface


def wave(vertices: NDArray, size: float) -> NDArray[np.float64]:
    """Smooth asymmetric displacement (V, 3) of up to `size` mm along z, 60 mm a period."""
    x, y = vertices[:, :2].T / 60 * 2 * np.pi
    return np.stack([0 * x, 0 * x, size * np.sin(x + 0.4) * np.cos(0.7 * y + 1)], axis=1)


def scan_of(vertices: NDArray, triangles: NDArray, landmarks: NDArray, holes: list[NDArray], seed: int) -> Scan:
    """Another triangulation of a surface (V, 3) mm, head frame, with scanner's faults, moved to a scanner's frame.

    Holes of 8 mm radius at `holes`; 0.1 mm noise; one vertex in a hundred astray by centimetres; landmarks 0.5 mm off.
    """
    rng = np.random.default_rng(seed)
    points, faces = remeshed(vertices, triangles)
    clean = Surface(PLACE.apply(points), faces)
    whole = np.ones(len(points), bool)
    for hole in holes:
        whole &= np.linalg.norm(points - hole, axis=1) > 8
    faces = faces[whole[faces].all(1)]
    points = points + rng.normal(0, 0.1, points.shape)
    astray = rng.random(len(points)) < 0.01
    points[astray] += rng.normal(0, 12, (astray.sum(), 3))
    picked = landmarks + rng.normal(0, 0.5, landmarks.shape)
    return Scan(PLACE.apply(points), faces, PLACE.apply(picked), PLACE.apply(vertices), clean)


HOLES = (NOW_LANDMARKS[4], 2, 24)
"""Landmarks at which the scans have holes: below the nose, on the jaw and on the brow."""


@pytest.fixture(scope="module")
def toy() -> ToyModel:
    return toy_model()


def toy_scan(toy: ToyModel, displacement: float = 2.0, seed: int = 1) -> Scan:
    vertices = toy.shape(np.array([1.2, -0.8, 1.5]), np.array([1.0, -0.5]))
    vertices = vertices + wave(toy.mean.numpy(), displacement)
    landmarks = vertices[toy.landmark_vertices.numpy()]
    holes = [landmarks[k] for k in HOLES]
    return scan_of(vertices, toy.triangles.numpy(), landmarks[list(NOW_LANDMARKS)], holes, seed)


@pytest.fixture(scope="module")
def scan(toy: ToyModel) -> Scan:
    return toy_scan(toy)


@pytest.fixture(scope="module")
def registered(toy: ToyModel, scan: Scan) -> RegisteredScan:
    return register_scan((scan.vertices, scan.triangles), scan.landmarks, toy)


@pytest.fixture(scope="module")
def open_case(training_model: LinearFaceModel) -> tuple[Scan, RegisteredScan]:
    """The open model under a random identity and expression, displaced by up to 1.5 mm outside its span."""
    rng = np.random.default_rng(0)
    identity, expression = (
        torch.from_numpy(rng.normal(0, size, (1, count))).float()
        for size, count in zip((1.0, 0.3), (80, 64), strict=True)
    )
    with torch.no_grad():
        vertices = training_model.decode(identity, expression)[0]
        vertices = vertices + torch.from_numpy(wave(training_model.mean.numpy(), 1.5)).float()
        landmarks = training_model.landmarks(vertices[None])[0].double().numpy()
    triangles = training_model.topology.triangles.astype(np.int64)
    holes = [landmarks[k] for k in HOLES]
    scan = scan_of(vertices.double().numpy(), triangles, landmarks[list(NOW_LANDMARKS)], holes, seed=0)
    return scan, register_scan((scan.vertices, scan.triangles), scan.landmarks, training_model)


def test_registration_of_the_open_model_lies_on_the_scan(
    open_case: tuple[Scan, RegisteredScan], training_model: LinearFaceModel
) -> None:
    scan, registered = open_case
    distances = distances_to_mesh(scan.vertices, registered.vertices, training_model.topology.triangles)
    assert np.isfinite(distances).mean() > 0.95
    assert np.nanmedian(distances) < 0.1  # of a noise of 0.1 mm
    off, _, _ = scan.clean.closest(registered.vertices)
    assert off[registered.valid].mean() < 0.08 and np.percentile(off[registered.valid], 95) < 0.25
    assert registered.valid.mean() > 0.85


def test_registration_of_the_open_model_puts_vertices_where_they_belong(
    open_case: tuple[Scan, RegisteredScan],
) -> None:
    scan, registered = open_case
    assert np.linalg.norm(registered.vertices - scan.truth, axis=1).mean() < 1.2


def test_offsets_reach_what_the_model_cannot_express(toy: ToyModel, scan: Scan, registered: RegisteredScan) -> None:
    fit, _, _ = scan.clean.closest(registered.fitted)
    offset, _, _ = scan.clean.closest(registered.vertices)
    assert fit.mean() > 0.5
    assert offset[registered.valid].mean() < 0.1 and offset.mean() < 0.15


def test_holes_are_not_valid_and_are_filled_smoothly(toy: ToyModel, scan: Scan, registered: RegisteredScan) -> None:
    off, _, _ = scan.clean.closest(registered.vertices)
    for landmark in HOLES:
        centre = scan.truth[toy.landmark_vertices[landmark]]
        from_centre = np.linalg.norm(scan.truth - centre, axis=1)
        assert not registered.valid[from_centre < 5].any()
        assert off[from_centre < 8].max() < 1.0
    everywhere = np.linalg.norm(scan.truth[:, None] - scan.truth[toy.landmark_vertices[list(HOLES)]], axis=2).min(1)
    assert registered.valid[everywhere > 12].mean() > 0.9


def test_coefficients_and_placement_of_a_scan_within_the_span(toy: ToyModel) -> None:
    scan = toy_scan(toy, displacement=0.0)
    registered = register_scan((scan.vertices, scan.triangles), scan.landmarks, toy)
    np.testing.assert_allclose(registered.identity, [1.2, -0.8, 1.5], atol=0.15)
    np.testing.assert_allclose(registered.expression, [1.0, -0.5], atol=0.25)
    np.testing.assert_allclose(registered.placement.rotation, PLACE.rotation, atol=0.01)
    np.testing.assert_allclose(registered.placement.translation, PLACE.translation, atol=0.4)
    np.testing.assert_allclose(registered.placement.apply(registered.head_vertices), registered.vertices, atol=1e-9)


def test_distances_are_those_to_the_scan(scan: Scan, registered: RegisteredScan) -> None:
    expected, _, _ = Surface(scan.vertices, scan.triangles).closest(registered.vertices)
    np.testing.assert_allclose(registered.distances, expected, atol=1e-9)


def test_unit_of_the_scan_changes_nothing(toy: ToyModel, scan: Scan, registered: RegisteredScan) -> None:
    metres = register_scan((scan.vertices / 1000, scan.triangles), scan.landmarks / 1000, toy, unit=1000.0)
    np.testing.assert_allclose(metres.vertices, registered.vertices, atol=1e-3)


def test_triangles_turned_inside_out_and_cut_apart_change_nothing(
    toy: ToyModel, scan: Scan, registered: RegisteredScan
) -> None:
    """A scan whose every triangle has vertices of its own, clockwise: no seam counts as a border."""
    soup = scan.vertices[scan.triangles[:, ::-1]].reshape(-1, 3)
    found = register_scan((soup, np.arange(len(soup)).reshape(-1, 3)), scan.landmarks, toy)
    np.testing.assert_allclose(found.vertices, registered.vertices, atol=0.02)
    assert (found.valid == registered.valid).mean() > 0.999


def test_cloud_of_points_serves_as_well(toy: ToyModel, scan: Scan) -> None:
    used = np.unique(scan.triangles)
    found = register_scan(scan.vertices[used], scan.landmarks, toy)
    off, _, _ = scan.clean.closest(found.vertices)
    assert off[found.valid].mean() < 0.15 and found.valid.mean() > 0.75


def test_68_landmarks_of_which_some_were_not_seen(toy: ToyModel, scan: Scan) -> None:
    landmarks = scan.truth[toy.landmark_vertices.numpy()]
    landmarks[:9] = np.nan
    found = register_scan((scan.vertices, scan.triangles), landmarks, toy)
    off, _, _ = scan.clean.closest(found.vertices)
    assert off[found.valid].mean() < 0.1


def test_more_than_the_face_does_not_matter(toy: ToyModel, scan: Scan, registered: RegisteredScan) -> None:
    """A wall behind the head and a shoulder in front of it."""
    x, y = (grid.ravel() for grid in np.meshgrid(*[np.linspace(-200, 200, 21)] * 2))
    a = (np.arange(20)[:, None] * 21 + np.arange(20)).ravel()
    faces = np.stack([a, a + 1, a + 22, a, a + 22, a + 21], axis=1).reshape(-1, 3) + len(scan.vertices)
    wall = PLACE.apply(np.stack([x, y, np.full_like(x, -130)], 1))
    shoulder = PLACE.apply(np.stack([x / 3, y / 10 - 160, np.full_like(x, 20)], 1))
    vertices = np.concatenate([scan.vertices, wall, shoulder])
    found = register_scan((vertices, np.concatenate([scan.triangles, faces, faces + 441])), scan.landmarks, toy)
    np.testing.assert_allclose(found.vertices[found.valid], registered.vertices[found.valid], atol=0.3)


def test_a_part_under_the_skin_is_not_pulled_out_to_it(toy: ToyModel, scan: Scan, registered: RegisteredScan) -> None:
    """A copy of the cheek 2 mm under it, as eyeballs lie under lids: only the outer one lies on the scan."""
    mean = toy.mean.numpy()
    cheek = np.flatnonzero(np.linalg.norm(mean[:, :2] - [35, -15], axis=1) < 16)
    number = np.full(len(mean), -1)
    number[cheek] = len(mean) + np.arange(len(cheek))
    triangles = toy.triangles.numpy()
    lining = number[triangles[(number[triangles] >= 0).all(1)]]
    grown = {name: torch.cat([basis, basis[:, cheek]], 1) for name, basis in bases(toy).items()}
    below = mean[cheek] - 2 * mesh_normals(mean, triangles)[cheek]
    model = replace(
        toy, mean=torch.from_numpy(np.concatenate([mean, below])),
        triangles=torch.from_numpy(np.concatenate([triangles, lining])), **grown,
    )  # fmt: skip
    found = register_scan((scan.vertices, scan.triangles), scan.landmarks, model)
    moved = np.linalg.norm(found.vertices - found.fitted, axis=1)
    assert moved[len(mean) :].max() < 0.1 and moved[cheek].mean() > 0.5
    assert found.valid[len(mean) :].mean() < 0.1 and found.valid[cheek].mean() > 0.9


def bases(toy: ToyModel) -> dict[str, torch.Tensor]:
    return {"identity_basis": toy.identity_basis, "expression_basis": toy.expression_basis}


def test_a_texture_seam_does_not_tear(toy: ToyModel, scan: Scan, registered: RegisteredScan) -> None:
    """The toy cut along its middle, its vertices there in two copies: the registration stays the same."""
    triangles, count = toy.triangles.numpy(), len(toy.mean)
    left = toy.mean.numpy()[triangles, 0].mean(1) < 0
    seam = np.intersect1d(triangles[left], triangles[~left])
    number = np.arange(count)
    number[seam] = count + np.arange(len(seam))
    grown = {name: torch.cat([basis, basis[:, seam]], 1) for name, basis in bases(toy).items()}
    model = replace(
        toy,
        mean=torch.cat([toy.mean, toy.mean[seam]]),
        triangles=torch.from_numpy(np.where(left[:, None], number[triangles], triangles)),
        seam_copies=seam,
        **grown,
    )
    found = register_scan((scan.vertices, scan.triangles), scan.landmarks, model)
    np.testing.assert_array_equal(found.vertices[count:], found.vertices[seam])
    np.testing.assert_allclose(found.vertices[:count], registered.vertices, atol=1e-6)
    np.testing.assert_array_equal(found.valid, np.append(registered.valid, registered.valid[seam]))
    distances = distances_to_mesh(scan.truth, found.vertices, model.triangles.numpy())
    assert (
        np.isfinite(distances[seam]).sum()
        == np.isfinite(distances_to_mesh(scan.truth, registered.vertices, triangles)[seam]).sum()
    )


def register_own_face(model: FaceModel, identity: torch.Tensor, expression: torch.Tensor) -> tuple[NDArray, ...]:
    """Distances (V,) of the model's fit, and of the registration, to the vertices of a face of its own."""
    with torch.no_grad():
        vertices = model.decode(identity, expression)
        landmarks = model.landmarks(vertices)[0].double().numpy()
    truth = vertices[0].double().numpy()
    found = register_scan((PLACE.apply(truth), model.triangles.numpy()), PLACE.apply(landmarks), model)
    assert len(found.identity) == identity.shape[1] and len(found.expression) == expression.shape[1]
    with torch.no_grad():
        decoded = model.decode(torch.from_numpy(found.identity)[None], torch.from_numpy(found.expression)[None])[0]
    np.testing.assert_allclose(found.placement.apply(decoded.double().numpy()), found.fitted, atol=1e-3)
    return tuple(np.linalg.norm(mesh - PLACE.apply(truth), axis=1) for mesh in (found.fitted, found.vertices))


def test_a_turned_jaw_is_fitted(tmp_path: Path) -> None:
    model = load_flame_head(tmp_path)
    identity, expression = torch.zeros(1, 300), torch.zeros(1, 23)
    identity[0, :80] = 0.7 * torch.from_numpy(np.random.default_rng(1).normal(size=80))
    expression[0, 20] = 2.0
    off = np.linalg.norm((model.decode(identity, expression) - model.decode(identity, 0 * expression))[0], axis=1)
    fitted, registered = register_own_face(model, identity, expression)
    assert off.max() > 8  # mm that the jaw moves
    assert fitted[off > 2].mean() < 0.6 and registered[off > 2].mean() < 0.6 and registered.max() < 3


def test_products_of_identity_and_expression_are_fitted(training_model: LinearFaceModel) -> None:
    rng, own = np.random.default_rng(0), training_model
    identity_basis, expression_basis = own.identity_basis[:10].numpy(), own.expression_basis[:8].numpy()
    source = SourceModel(
        name="bilinear",
        licence="",
        mean=own.mean.numpy(),
        triangles=own.topology.triangles,
        identity=identity_basis,
        expression=expression_basis,
        landmark_triangles=own.topology.landmark_triangles,
        landmark_barycentric=own.topology.landmark_barycentric,
        interaction=(0.15 * rng.normal(size=(10, 8, 1, 1)) * expression_basis).astype(np.float32),
    )
    model = PublishedFaceModel(converted(source))
    identity, expression = (torch.from_numpy(rng.normal(size=(1, size))).float() for size in (10, 8))
    fitted, registered = register_own_face(model, identity, expression)
    assert fitted.mean() < 0.2 and registered.mean() < 0.2


def test_jacobian_of_a_bilinear_model() -> None:
    rng = np.random.default_rng(4)
    arrays = {"identity": (3, 9, 3), "expression": (2, 9, 3), "interaction": (3, 2, 9, 3)}
    bilinear = SourceModel(
        name="small",
        licence="",
        mean=rng.normal(size=(9, 3)),
        triangles=np.array([[0, 1, 2]]),
        **{name: rng.normal(size=shape).astype(np.float32) for name, shape in arrays.items()},
    )
    model = PublishedFaceModel(converted(bilinear)).double()
    identity, expression = torch.randn(3).double(), torch.randn(2).double()
    expected = torch.autograd.functional.jacobian(
        lambda both: model.decode(both[None, :3], both[None, 3:])[0, [7, 2]], torch.cat([identity, expression])
    )
    torch.testing.assert_close(model.jacobian(identity, expression, torch.tensor([7, 2])), expected)


def test_points_beyond_the_mesh_have_no_distance(toy: ToyModel) -> None:
    vertices = toy.mean.numpy()
    middle = len(vertices) // 3
    above = vertices[middle] + 3 * mesh_normals(vertices, toy.triangles.numpy())[middle]
    beyond = vertices[-1] + [20, 20, 0]
    distances = distances_to_mesh(np.stack([above, beyond]), vertices, toy.triangles.numpy())
    assert distances[0] == pytest.approx(3, abs=0.02) and np.isnan(distances[1])


def test_closest_points_know_the_border() -> None:
    square = ScanSurface(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    found = square.closest(np.array([[0.5, 0.5, 1], [0.5, -1, 1], [-1, -1, 0], [0.2, 0.7, -2]]))
    assert found.beside.tolist() == [False, True, True, False]  # over the diagonal, an edge, a corner, the inside
    np.testing.assert_allclose(found.distances, [1, np.sqrt(2), np.sqrt(2), 2])
    np.testing.assert_allclose(found.normals, [[0, 0, 1]] * 4)


@pytest.mark.parametrize(
    ("unit", "factor", "name"), [(1.0, 0.001, "m"), (1.0, 0.1, "cm"), (1000.0, 1.0, "mm"), (1.0, 1 / 25.4, "inch")]
)
def test_wrong_unit_is_named(toy: ToyModel, scan: Scan, unit: float, factor: float, name: str) -> None:
    with pytest.raises(InputError, match=f"looks like {name}: give that unit"):
        register_scan((scan.vertices * factor, scan.triangles), scan.landmarks * factor, toy, unit)


def test_bad_input_is_refused(toy: ToyModel, scan: Scan) -> None:
    good = (scan.vertices, scan.triangles)
    with pytest.raises(InputError, match="3 landmarks are finite"):
        register_scan(good, np.where(np.arange(7)[:, None] < 3, scan.landmarks, np.nan), toy)
    with pytest.raises(InputError, match="one line"):
        register_scan(good, np.linspace(scan.landmarks[0], scan.landmarks[3], 7), toy)
    broken = scan.vertices.copy()
    broken[5, 1] = np.nan
    with pytest.raises(InputError, match=r"1 of the scan's \d+ points are NaN"):
        register_scan((broken, scan.triangles), scan.landmarks, toy)
    with pytest.raises(InputError, match="no triangles"):
        register_scan((scan.vertices, np.zeros((0, 3), int)), scan.landmarks, toy)
    with pytest.raises(InputError, match="has 0 points"):
        register_scan(np.zeros((0, 3)), scan.landmarks, toy)
    with pytest.raises(InputError, match="landmarks lie"):
        register_scan((scan.vertices + 5000, scan.triangles), scan.landmarks, toy)
    with pytest.raises(ValueError, match=r"\(7, 3\) or \(68, 3\)"):
        register_scan(good, scan.landmarks[:5], toy)
