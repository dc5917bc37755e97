"""Implementations of rasterisation and interpolation, chosen by device or by name.

A backend is a module with

    rasterize(vertices, triangles, height, width, cull) -> (triangle_index, depth)

vertices: (B, V, 3) float32 or float64, contiguous and without gradient; triangles: (F, 3) int32, checked; both on one
device, on which triangle_index (B, height, width) int32 and depth (B, height, width) float32 are returned as
`facerecon.render.rasterize.rasterize` describes them; and, where it brings its own,

    interpolate(triangle_index, vertices, triangles, attributes) -> (B, height, width, C)

with gradients, as `facerecon.render.interpolate.interpolate` describes it.
"""

import importlib.util
import os
from types import ModuleType
from typing import get_args

import torch

from facerecon.errors import InputError
from facerecon.render.settings import Renderer

BACKENDS = tuple(name for name in get_args(Renderer) if name != "auto")
"""Names of the implementations: numba on the CPU, Triton on CUDA, and PyTorch3D where it is installed."""


def resolve_backend(name: str | None, device: torch.device) -> ModuleType:
    """The backend of that name for tensors on `device`.

    name: one of `BACKENDS`, or None or "auto" for the device's own: "cpu" on the CPU, "triton" on CUDA.
    Raises InputError if the name is unknown, or what it names is not installed or cannot serve the device: a backend is
    never replaced by another one.
    """
    if name in (None, "auto"):
        own = {"cpu": "cpu", "cuda": "triton"}
        if device.type not in own:
            raise InputError(f"no renderer runs on {device}: move the tensors to the CPU or to CUDA")
        name = own[device.type]
    # Imported here: compiling kernels needs libraries that a run with another backend may not have.
    if name == "cpu":
        if device.type != "cpu":
            raise InputError(f"renderer 'cpu' got tensors on {device}: move them with .cpu() or choose auto")
        from facerecon.render.backends import numba_cpu

        return numba_cpu
    if name == "triton":
        _check_triton(device)
        from facerecon.render.backends import triton_cuda

        return triton_cuda
    if name == "pytorch3d":
        if importlib.util.find_spec("pytorch3d") is None:
            raise InputError("renderer 'pytorch3d' is not installed: see envs/pytorch3d.yaml, or choose auto")
        from facerecon.render.backends import pytorch3d_adapter

        return pytorch3d_adapter
    raise InputError(f"renderer {name!r} is not available: choose one of auto, {', '.join(BACKENDS)}")


def _check_triton(device: torch.device) -> None:
    if importlib.util.find_spec("triton") is None:
        raise InputError("renderer 'triton' is not installed: torch for CUDA has it on Linux; else use the CPU")
    if device.type != "cuda" and not (device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"):
        raise InputError(
            f"renderer 'triton' got tensors on {device}: move them to CUDA, choose auto, "
            "or set TRITON_INTERPRET=1 before starting Python to try it (slowly) on the CPU"
        )
