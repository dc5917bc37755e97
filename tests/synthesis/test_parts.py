"""Pieces of the photograph renderer against hand-computed values."""

import numpy as np
import pytest
import torch

from facerecon.geometry.normals import vertex_normals
from facerecon.geometry.spherical_harmonics import sh_basis
from facerecon.render.shading import linear_to_srgb
from facerecon.synthesis.expressions import sample_expression
from facerecon.synthesis.head_surface import CLASS, load_head_surface
from facerecon.synthesis.kernels import fused_vertex_normals, shade_pixels
from facerecon.synthesis.lighting import Light, sample_light
from facerecon.synthesis.rendering import tabulated_srgb
from facerecon.synthesis.shapes import glasses_mesh, grid_triangles, hair_mesh, hat_mesh, sample_hair_style


def test_srgb_curve_follows_the_standard():
    linear = np.array([0.0, 0.001, 0.0031308, 0.18, 0.5, 1.0])
    exact = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(tabulated_srgb(linear) - exact).max() < 1e-3
    assert tabulated_srgb(np.array([2.0]))[0] == pytest.approx(1.0, abs=1e-6)


def test_tabulated_srgb_agrees_with_the_curve_and_takes_what_is_no_number_for_black():
    linear = np.random.default_rng(0).random(10_000) ** 3
    assert np.abs(tabulated_srgb(linear) - linear_to_srgb(linear)).max() < 0.5 / 255.0
    assert tabulated_srgb(np.array([np.nan, -np.inf, np.inf, -1.0])) == pytest.approx([0.0, 0.0, 1.0, 0.0])


def test_light_coefficients_of_a_single_lamp_reproduce_lambert():
    """At cosine c SH of order 2 give 1/4 + c/2 + 5/32 (3 c^2 - 1) for max(c, 0) (Ramamoorthi and Hanrahan 2001)."""
    direction = np.array([0.6, 0.0, 0.8], np.float32)
    light = Light(np.zeros((9, 3), np.float32), direction, np.ones(3, np.float32), 0.0)
    normals = np.array([[0.6, 0.0, 0.8], [-0.6, 0.0, -0.8], [0.0, 1.0, 0.0]])
    shading = (sh_basis(normals) @ light.coefficients())[:, 0]
    assert shading == pytest.approx([1.0625, 0.0625, 0.09375], abs=1e-3)


def test_sampled_light_is_finite_and_points_to_the_front():
    for seed in range(50):
        light = sample_light(np.random.default_rng(seed))
        assert np.isfinite(light.coefficients()).all() and light.direction[2] > 0
        assert np.linalg.norm(light.direction) == pytest.approx(1.0, abs=1e-5)


def test_normals_of_a_plane():
    x, y = np.meshgrid(np.arange(4.0), np.arange(4.0))
    plane = np.stack([x, y, 0 * x], -1).reshape(-1, 3).astype(np.float32)
    normals = fused_vertex_normals(plane, grid_triangles(4, 4))
    assert np.abs(normals) == pytest.approx(np.tile([0.0, 0.0, 1.0], (16, 1)))
    lonely = fused_vertex_normals(np.zeros((2, 3), np.float32), np.zeros((0, 3), np.int32))
    assert (lonely == 0).all()


def test_fused_normals_agree_with_the_plain_ones():
    surface = load_head_surface()
    plain = vertex_normals(torch.from_numpy(surface.template)[None], surface.triangles)[0].numpy()
    assert np.abs(fused_vertex_normals(surface.template, surface.triangles) - plain).max() < 1e-3


def test_a_pixel_of_a_triangle_without_area_is_black():
    """The rasteriser rounds corners to its grid, so a triangle whose corners coincide can own a pixel."""
    pixels = np.array([[2.5, 1.5, 900.0]] * 3 + [[0.0, 0.0, 900.0], [6.0, 0.0, 900.0], [0.0, 6.0, 900.0]], np.float32)
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    index = np.full((3, 4), -1, np.int32)
    index[1, 2], index[0, 0] = 0, 1
    position, normal = np.zeros((6, 3), np.float32), np.tile(np.float32([0.0, 0.0, 1.0]), (6, 1))
    ones, toward = np.ones(6, np.float32), np.float32([0.0, 0.0, 1.0])
    radiance = shade_pixels(
        index, pixels, triangles, position, normal, np.ones((6, 3), np.float32), ones, 0 * ones, 0 * ones,
        np.zeros((9, 3), np.float32), toward, np.ones(3, np.float32), np.full((4, 4), -1e5, np.float32),
        np.eye(3, dtype=np.float32), 1.0, 0.0,
    )  # fmt: skip
    assert (radiance[1, 2] == 0).all()
    assert radiance[0, 0] == pytest.approx(np.full(3, 1.02))  # key light 1 and the least ambient light


def test_expressions_stay_in_range_and_the_mouth_is_not_torn():
    names = load_head_surface().generator.expression_names
    drawn = np.stack([sample_expression(np.random.default_rng(s), names) for s in range(200)])
    assert drawn.min() >= 0.0 and drawn.max() <= 1.0
    assert (drawn.sum(1) == 0).mean() == pytest.approx(0.2, abs=0.1)
    assert drawn[:, list(names).index("tongueOut")].max() == 0.0


def test_head_classes_are_where_they_belong():
    surface = load_head_surface()
    centre = surface.template[surface.triangles].mean(1)
    where = {name: centre[surface.triangle_class == k] for name, k in CLASS.items()}
    assert where["l_eye"][:, 0].min() > 0 > where["r_eye"][:, 0].max()
    assert where["l_ear"][:, 0].min() > 0 > where["r_ear"][:, 0].max()
    assert where["u_lip"][:, 1].mean() > where["l_lip"][:, 1].mean()
    assert where["nose"][:, 2].max() == pytest.approx(surface.template[:, 2].max(), abs=1.0)
    assert where["neck"][:, 1].mean() < where["l_lip"][:, 1].min()


def test_ambient_visibility_is_full_on_the_forehead_and_small_in_the_mouth():
    surface = load_head_surface()
    forehead = surface.template[:, 1] > np.percentile(surface.template[:, 1], 97)
    assert surface.occlusion[forehead & surface.is_part("skin")].mean() > 0.9
    assert surface.occlusion[surface.is_part("mouth_cavity")].mean() < 0.3


@pytest.mark.parametrize("seed", range(6))
def test_meshes_around_the_head_are_sound(seed):
    surface = load_head_surface()
    rng = np.random.default_rng(seed)
    skin = surface.template[surface.is_part("skin")]
    style = sample_hair_style(rng, np.full(3, 0.05), male=False)
    meshes = [hat_mesh(rng, skin, 20.0), glasses_mesh(rng, np.random.default_rng(0).normal(0, 40, (68, 3)))]
    if style.kind is not None:
        meshes.append(hair_mesh(rng, skin, 20.0, style))
    for mesh in meshes:
        assert np.isfinite(mesh.vertices).all() and mesh.triangles.max() < len(mesh.vertices)
        assert len(mesh.labels) == len(mesh.triangles) and len(mesh.colours) == len(mesh.vertices)
        assert mesh.colours.min() >= 0.0 and mesh.colours.max() <= 1.0
