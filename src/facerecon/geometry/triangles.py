"""Checks of triangle lists before they reach compiled code."""

import numpy as np
import torch
from torch import Tensor


def checked_triangles(triangles: Tensor | np.ndarray, vertices: Tensor) -> Tensor:
    """Triangles as a contiguous int32 tensor on the device of `vertices`, safe to index them with.

    triangles: (F, 3) integers, F >= 0, torch or numpy. vertices: (B, V, C) any float dtype.
    Raises ValueError if the shape or dtype is wrong or an index lies outside [0, V).
    """
    triangles = torch.as_tensor(triangles, device=vertices.device)
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"triangles must be (F, 3), not {tuple(triangles.shape)}")
    if triangles.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"triangles must be int32 or int64, not {triangles.dtype}")
    if triangles.numel():
        lowest, highest = extremes(triangles)
        if lowest < 0 or highest >= vertices.shape[1]:
            raise ValueError(f"triangles index vertices {lowest} to {highest}, but there are {vertices.shape[1]}")
    return triangles.to(torch.int32).contiguous()


def check_vertices(name: str, vertices: Tensor) -> None:
    """Raise ValueError unless `vertices` is (B, V, 3) float32 or float64."""
    if vertices.ndim != 3 or vertices.shape[-1] != 3:
        raise ValueError(f"{name} must be (B, V, 3), not {tuple(vertices.shape)}")
    if vertices.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} must be float32 or float64, not {vertices.dtype}")


def extremes(indices: Tensor) -> tuple[int, int]:
    """Least and greatest of integers, of which there is at least one.

    On the CPU by numpy: torch would start its threads, which for a while wait busily and take the cores from ours.
    """
    if indices.device.type == "cpu":
        array = indices.numpy()
        return int(array.min()), int(array.max())
    lowest, highest = torch.stack(torch.aminmax(indices)).tolist()  # one copy to the host, not two
    return lowest, highest
