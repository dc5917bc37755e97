"""Time of `rasterize` and of `interpolate` (forward and backward, 3 channels) against the slow references.

    PYTHONPATH=src python benchmarks/rendering.py [--out benchmarks/results/rendering.json] [--threads 1]

Views of a closed head-like mesh of 70,000 and 10,000 triangles, 224 x 224 pixels, about 60 % covered, batches of 1 and
8. References, both in `facerecon.render.reference` and run on one image in the same process: exact rational arithmetic
for `rasterize`, torch operations and autograd for `interpolate`. Ratios are of the least times of many calls, which
vary little on a machine that does other work too. Takes about a minute.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch
from scipy.spatial import ConvexHull

from facerecon.artefacts import atomic_file
from facerecon.geometry.cameras import head_to_camera, project_perspective
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize
from facerecon.render.reference import interpolate_reference, rasterize_reference

SIZE = 224
TRIANGLES = {"70k": 70_000, "10k": 10_000}


def head_like_mesh(triangle_count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A bumpy ellipsoid with a nose, mm, head frame: vertices (V, 3) and triangles (F, 3) sorted by height."""
    count = triangle_count // 2 + 2
    step = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * step / count), np.pi * (1 + 5**0.5) * step
    sphere = np.stack([np.cos(azimuth) * np.sin(polar), np.cos(polar), np.sin(azimuth) * np.sin(polar)], 1)
    triangles = ConvexHull(sphere).simplices.astype(np.int32)
    corners = sphere[triangles]
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = (outward * corners.mean(1)).sum(1) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    triangles = triangles[np.argsort(corners.mean(1)[:, 1])]
    x, y, z = sphere.T
    radius = 1 + 0.03 * np.sin(9 * x) * np.cos(7 * y) + 0.25 * np.exp(-(x * x + y * y) / 0.03) * (z > 0)
    vertices = sphere * radius[:, None] * [92.0, 106.0, 95.0]
    return torch.tensor(vertices, dtype=torch.float32), torch.tensor(triangles)


def views(vertices: torch.Tensor, batch: int) -> torch.Tensor:
    """The mesh in the standard crop at yaws from -0.5 to 0.5: (batch, V, 3) pixels."""
    angles = torch.zeros(batch, 3)
    angles[:, 1] = torch.linspace(-0.5, 0.5, batch) if batch > 1 else 0.2
    translation = torch.tensor([[0.0, 0.0, 1000.0]]).expand(batch, 3)
    camera = head_to_camera(vertices[None].expand(batch, -1, -1), euler_to_matrix(angles), translation)
    return project_perspective(camera, 1015.0, (SIZE / 2, SIZE / 2)).contiguous()


def milliseconds(function: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median and least time of one call, after a call that is not counted."""
    if repeats > 1:
        function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return {"median": statistics.median(times), "least": min(times)}


def interpolation_step(function: Callable, index: torch.Tensor, vertices: torch.Tensor, triangles: torch.Tensor):
    """A call that interpolates three channels forward and backward."""
    generator = torch.Generator().manual_seed(0)
    vertices = vertices.clone().requires_grad_()
    attributes = torch.rand(*vertices.shape, generator=generator, requires_grad=True)
    gradient = torch.rand(*index.shape, 3, generator=generator)

    def step() -> None:
        vertices.grad = attributes.grad = None
        function(index, vertices, triangles, attributes).backward(gradient)

    return step


def measure(triangle_count: int, repeats: int) -> list[dict]:
    """One row a batch size; times in ms an image, ratios to the references of the same run."""
    vertices, triangles = head_like_mesh(triangle_count)
    one = views(vertices, 1)
    index, _ = rasterize(one, triangles, SIZE, SIZE)
    slow_rasterize = milliseconds(lambda: rasterize_reference(one, triangles, SIZE, SIZE), 1)
    slow_interpolate = milliseconds(interpolation_step(interpolate_reference, index, one, triangles), repeats)
    rows = []
    for batch in (1, 8):
        vertices_pixels = views(vertices, batch)
        index, _ = rasterize(vertices_pixels, triangles, SIZE, SIZE)
        step = interpolation_step(interpolate, index, vertices_pixels, triangles)
        row = {"triangles": len(triangles), "batch": batch, "covered": round((index >= 0).float().mean().item(), 3)}
        for name, call, slow in (
            ("rasterize", lambda pixels=vertices_pixels: rasterize(pixels, triangles, SIZE, SIZE), slow_rasterize),
            ("interpolate_forward_backward", step, slow_interpolate),
        ):
            fast = milliseconds(call, repeats)
            row[name] = {
                "ms_per_image_median": round(fast["median"] / batch, 3),
                "ms_per_image_least": round(fast["least"] / batch, 3),
                "reference_ms_per_image_least": round(slow["least"], 3),
                "times_faster_than_reference": round(slow["least"] / (fast["least"] / batch), 1),
            }
        rows.append(row)
    return rows


def provenance(threads: int) -> dict:
    """Commit, hardware, how busy it was, and versions."""
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=here, capture_output=True, text=True
    ).stdout.strip()
    models = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "commit": commit or "unknown",
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(models) or None,
        "threads": threads,
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "rendering.json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for name, count in TRIANGLES.items():
        for row in measure(count, arguments.repeats):
            rows.append(row)
            times = "  ".join(
                f"{stage} {row[stage]['ms_per_image_least']:.2f} ms ({row[stage]['times_faster_than_reference']:.0f}x)"
                for stage in ("rasterize", "interpolate_forward_backward")
            )
            print(f"{name} batch {row['batch']}: {times}", flush=True)
    with atomic_file(arguments.out) as path:
        path.write_text(json.dumps({**provenance(arguments.threads), "size": SIZE, "rows": rows}, indent=2) + "\n")
    print(f"written {arguments.out}")


if __name__ == "__main__":
    main()
