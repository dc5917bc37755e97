"""Slow, readable rasterisation and interpolation: what the fast ones are compared with in the tests."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from facerecon.render.rasterize import grid_steps


def rasterize_reference(
    vertices_pixels: Tensor, triangles: Tensor, height: int, width: int, cull: bool = True
) -> tuple[Tensor, Tensor]:
    """`rasterize` by exact rational arithmetic, a triangle and a pixel at a time; all vertices must be finite."""
    steps = int(grid_steps(height, width))
    triangle_index = torch.full((len(vertices_pixels), height, width), -1, dtype=torch.int32)
    depth = torch.full((len(vertices_pixels), height, width), np.inf)
    for b, vertices in enumerate(vertices_pixels.double().numpy()):
        grid = [[Fraction(int(np.floor(value * steps + 0.5)), steps) for value in vertex[:2]] for vertex in vertices]
        for f, corners in enumerate(triangles.tolist()):
            z = vertices[corners, 2]
            points = [grid[i] for i in corners]
            area = _edge_function(points[0], points[1], points[2])
            if area == 0 or min(z) <= 0 or (cull and area > 0):
                continue
            if area > 0:
                points, z = points[::-1], z[::-1]
            for row in _pixels([y for _, y in points], height):
                for column in _pixels([x for x, _ in points], width):
                    centre = (Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2))
                    areas = [_edge_function(points[i], points[i - 2], centre) for i in range(3)]
                    if not all(_is_inside(points[i], points[i - 2], areas[i]) for i in range(3)):
                        continue
                    # areas[i] belongs to the edge from corner i to corner i + 1, opposite corner i + 2.
                    weights = np.array([float(area_part / -abs(area)) for area_part in areas])[[1, 2, 0]]
                    pixel_depth = float(np.float32(1 / (weights / z).sum()))
                    if pixel_depth < depth[b, row, column]:
                        depth[b, row, column] = pixel_depth
                        triangle_index[b, row, column] = f
    return triangle_index, depth


def interpolate_reference(
    triangle_index: Tensor, vertices_pixels: Tensor, triangles: Tensor, attributes: Tensor
) -> Tensor:
    """`interpolate` with torch operations, differentiated by autograd."""
    image, row, column = (triangle_index >= 0).nonzero(as_tuple=True)
    corners = triangles.long()[triangle_index[image, row, column].long()]
    points = vertices_pixels[image[:, None], corners]
    x = points[..., 0] - (column + 0.5).to(points)[:, None]
    y = points[..., 1] - (row + 0.5).to(points)[:, None]
    areas = x.roll(-1, 1) * y.roll(-2, 1) - x.roll(-2, 1) * y.roll(-1, 1)
    weights = areas / points[..., 2]
    weights = weights / weights.sum(1, keepdim=True)
    values = (weights[..., None] * attributes[image[:, None], corners]).sum(1)
    blank = attributes.new_zeros((*triangle_index.shape, attributes.shape[-1]))
    return blank.index_put((image, row, column), values)


def _pixels(coordinates: list[Fraction], count: int) -> range:
    """Rows or columns whose centres lie between the least and the greatest of the coordinates."""
    half = Fraction(1, 2)
    return range(max(0, ceil(min(coordinates) - half)), min(count, floor(max(coordinates) - half) + 1))


def _edge_function(start, end, point):
    """Twice the signed area of the triangle start, end, point in pixel axes; negative is counter-clockwise as seen."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def _is_inside(start, end, value) -> bool:
    """Top-left rule for a triangle that is counter-clockwise as seen, whose inside has negative edge functions.

    Seen so, its left edges run down the image and its top edges run left.
    """
    is_left, is_top = end[1] > start[1], end[1] == start[1] and end[0] < start[0]
    return value < 0 or (value == 0 and (is_left or is_top))
