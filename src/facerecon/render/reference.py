"""Slow, readable forms of the rendering operations: what the fast ones are compared with in the tests."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import torch
from torch import Tensor

from facerecon.geometry.cameras import unproject_perspective
from facerecon.geometry.normals import vertex_normals_torch
from facerecon.render.backends.grid import grid_steps


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


def shade_image_reference(albedo: Tensor, normals_view: Tensor, light: Tensor) -> Tensor:
    """`shade_image` a pixel and a colour at a time, the basis functions written out (Ramamoorthi and Hanrahan 2001)."""
    shaded = torch.zeros_like(albedo)
    for b, row, column, colour in np.ndindex(*albedo.shape):
        x, y, z = normals_view[b, row, column].tolist()
        constant = 0.28209479177387814
        linear = [0.4886025119029199 * value for value in (y, z, x)]
        quadratic = [1.0925484305920792 * x * y, 1.0925484305920792 * y * z, 0.31539156525252005 * (3 * z * z - 1)]
        quadratic += [1.0925484305920792 * x * z, 0.5462742152960396 * (x * x - y * y)]
        if light.ndim == 3:
            coefficients = light[b, :, colour if light.shape[2] == 3 else 0]
        else:
            coefficients = light[b, row, column].reshape(9, 3)[:, colour]
        shading = np.dot([constant, *linear, *quadratic], coefficients.tolist())
        shaded[b, row, column, colour] = albedo[b, row, column, colour] * shading
    return shaded


def sample_texture_reference(texture: Tensor, uv_image: Tensor, mask: Tensor) -> Tensor:
    """`sample_texture` by indexing the four texels around each point, differentiated by autograd; no NaN allowed."""
    rows, columns, _ = texture.shape[1:]
    image = torch.arange(len(uv_image)).clamp(max=len(texture) - 1)[:, None, None]
    x = (uv_image[..., 0] * columns - 0.5).clamp(0, columns - 1)
    y = ((1 - uv_image[..., 1]) * rows - 0.5).clamp(0, rows - 1)
    left, top = x.detach().floor(), y.detach().floor()
    colours = torch.zeros(())
    for i, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for j, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            texel = texture[image, i.long().clamp(max=rows - 1), j.long().clamp(max=columns - 1)]
            colours = colours + (weight_y * weight_x)[..., None] * texel
    return torch.where(mask[..., None], colours, 0.0)


def visibility_reference(
    vertices_pixels: Tensor,
    triangles: Tensor,
    uv: Tensor,
    size: int,
    height: int,
    width: int,
    focal: float,
    minimum_facing: float = 0.2,
    depth_tolerance: float = 2.0,
) -> Tensor:
    """Visibility (size, size) of `unwrap` for one mesh (V, 3) seen by a camera in the middle of the image.

    A texel at a time: its surface point and its normal's cosine to the camera are mixed from its triangle's corners.
    """
    camera = unproject_perspective(vertices_pixels[None].double(), focal, (width / 2, height / 2))[0]
    normals = vertex_normals_torch(camera[None], triangles)[0]
    facing = -(normals * torch.nn.functional.normalize(camera, dim=-1)).sum(-1)
    surface = torch.cat([camera, facing[:, None]], 1).numpy()
    depth = rasterize_reference(vertices_pixels[None], triangles, height, width)[1][0].numpy()
    visible = torch.zeros(size, size, dtype=torch.bool)
    for row, column in np.ndindex(size, size):
        texel = ((column + 0.5) / size, 1 - (row + 0.5) / size)
        for corners in triangles.tolist():
            weights = _barycentric(uv[corners].tolist(), texel)
            if min(weights) < 0:
                continue
            x, y, z, cosine = np.array(weights) @ surface[corners]
            x, y, cosine = focal * x / z + width / 2, focal * y / z + height / 2, min(cosine, 1)
            if cosine < minimum_facing or not (0 <= x < width and 0 <= y < height):
                continue
            slack = depth_tolerance + np.sqrt(2) * np.tan(np.arccos(cosine)) * z / focal
            rows = np.clip([floor(y - 0.5), floor(y - 0.5) + 1], 0, height - 1)
            columns = np.clip([floor(x - 0.5), floor(x - 0.5) + 1], 0, width - 1)
            visible[row, column] = bool((abs(depth[np.ix_(rows, columns)] - z) <= slack).all())
    return visible


def _barycentric(corners, point) -> list[float]:
    """Weights of a triangle's corners that give a point of its plane; one is negative outside."""
    whole = _edge_function(*corners)
    return [_edge_function(corners[i - 2], corners[i - 1], point) / whole for i in range(3)]


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
