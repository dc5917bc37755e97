"""Rasterisation by PyTorch3D, where it is installed: a peer to compare with, not a replacement.

Where its rule differs from the edge rule of `facerecon.render.rasterize`:

- A pixel belongs to a triangle if all three barycentric coordinates of its centre are greater than zero. A centre on an
  edge belongs to neither of the triangles that share it, which leaves a hole in a closed surface (or shows what lies
  behind); and since each triangle rounds the edge for itself, a centre close to an edge may fall into both, where the
  smaller depth wins, or into none.
- All arithmetic is in single precision, in normalised device coordinates (NDC). A triangle of less than about
  1e-8 min(height, width)^2 / 8 square pixels counts as having no area, one that reaches farther than 1e15 in x, y or z
  is left out, and depths below about 1e-4 are not perspective-correct.
- On CUDA, pixels are collected into bins of limited size: PyTorch3D warns when a bin overflows, and then leaves
  triangles out.

On the CPU it tests every triangle at every pixel, which takes seconds where numba takes a millisecond.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from facerecon.errors import InputError

LARGEST = 1e15
"""Greatest NDC coordinate and depth whose products, which PyTorch3D forms in float32, stay finite."""


@torch.no_grad()
def rasterize(vertices: Tensor, triangles: Tensor, height: int, width: int, cull: bool = True) -> tuple[Tensor, Tensor]:
    """Index and depth of the nearest triangle in each pixel by PyTorch3D's `rasterize_meshes`.

    vertices: (B, V, 3) x_px, y_px in pixels, z in mm. triangles: (F, 3) int32. cull: leave out triangles seen from
        behind. As for `facerecon.render.rasterize.rasterize`, which checks them; CPU or CUDA.
    Returns triangle_index (B, height, width) int32, -1 where there is none, and depth (B, height, width) float32 in mm,
    inf where there is none. A triangle with a vertex at z <= 0 or not finite, or without area, is left out.
    Raises InputError if PyTorch3D is not installed or was built without support for the tensors' device.
    """
    rasterize_meshes, Meshes = _import_pytorch3d()
    ndc = pixels_to_ndc(vertices, height, width).float()
    # False for NaN. PyTorch3D itself would draw some of these triangles, as noise.
    drawable = (ndc.abs() <= LARGEST).all(-1) & (ndc[..., 2] > 0)
    triangles = triangles.long()
    image, kept = drawable[:, triangles].all(-1).nonzero(as_tuple=True)
    if len(kept) == 0:
        shape = (len(vertices), height, width)
        empty = torch.full(shape, -1, dtype=torch.int32, device=vertices.device)
        return empty, torch.full(shape, torch.inf, device=vertices.device)
    faces = triangles[kept].split(image.bincount(minlength=len(vertices)).tolist())
    try:
        packed_index, depth, _, _ = rasterize_meshes(
            Meshes(list(ndc), list(faces)),
            image_size=(height, width),
            blur_radius=0.0,
            faces_per_pixel=1,
            perspective_correct=True,
            clip_barycentric_coords=False,
            cull_backfaces=cull,
        )
    except RuntimeError as error:
        if "Not compiled with GPU support" not in str(error):
            raise
        raise InputError(
            f"renderer 'pytorch3d' got tensors on {vertices.device}, but the PyTorch3D installed was built for the CPU "
            "alone: install the CUDA build (envs/pytorch3d.yaml) or choose auto"
        ) from error
    # Indices count the kept triangles of the whole batch: back to those of the mesh.
    packed_index, depth = packed_index[..., 0], depth[..., 0]
    covered = packed_index >= 0
    triangle_index = torch.where(covered, kept[packed_index.clamp(min=0)], -1).to(torch.int32)
    return triangle_index, torch.where(covered, depth, torch.inf)


def pixels_to_ndc(vertices: Tensor, height: int, width: int) -> Tensor:
    """Pixels to PyTorch3D's NDC: x left, y up, z unchanged.

    vertices: (..., 3) x_px right and y_px down in pixels, and z. Returns (..., 3), differentiable: the shorter side of
    the image spans [-1, 1], the longer one proportionally more. Both axes turn round, so the winding stays as it is.
    """
    size = vertices.new_tensor([width, height])
    return torch.cat([(size - 2 * vertices[..., :2]) / min(height, width), vertices[..., 2:]], -1)


def _import_pytorch3d() -> tuple[Callable[..., Any], type]:
    try:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"renderer 'pytorch3d' cannot be used ({reason}): see envs/pytorch3d.yaml, or choose auto"
        ) from error
    return rasterize_meshes, Meshes
