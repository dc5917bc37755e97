"""Time and memory of `rasterize` and of `interpolate` (3 channels), on the CPU or on a GPU.

    PYTHONPATH=src python benchmarks/rendering.py [--out benchmarks/results/rendering.json] [--threads 1]
    PYTHONPATH=src python benchmarks/rendering.py --device cuda [--out benchmarks/results/rendering_cuda.json]

Views of a closed head-like mesh of 70,000 and 10,000 triangles in the standard crop, about 60 % covered, with culling.

On the CPU: 224 and 512 pixels, batches of 1, 8 and 16, in ms an image; against the slow references of
`facerecon.render.reference` (exact rational arithmetic, and torch operations with autograd) on one image, and PyTorch3D
where it is installed (one forward call at 70,000 triangles and 224 pixels, which takes 15 to 30 s, after a small one to
load it; pytorch3d_parity.py has gradients); how far the resident memory grows during one call, results included; and
the speed of two threads over one at batch 8, calls of both taking turns. Ours is the least time of many calls, which
varies little on a machine that does other work too; `rasterize`'s reference, which takes seconds, is called once.

On a GPU: 224 pixels, batches of 16, 64 and 256: images/s of rasterize + interpolate, forward and with backward, beside
what the memory's bandwidth (that of a large copy in the same run) would allow if each array that a step must read or
write were moved once and nothing else took time; memory; and, on eight views, how far results and gradients are from
the CPU's.

Takes about three minutes on a CPU that does other work too.
"""

import argparse
import ctypes
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

import numba
import numpy as np
import torch
from scipy.spatial import ConvexHull
from torch import Tensor

from facerecon.artefacts import atomic_file
from facerecon.geometry.cameras import head_to_camera, project_perspective, standard_focal
from facerecon.geometry.rotations import euler_to_matrix
from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize
from facerecon.render.reference import interpolate_reference, rasterize_reference

SIZE = 224
SIZES = 224, 512
TRIANGLES = 70_000, 10_000
CPU_BATCHES = 1, 8, 16
GPU_BATCHES = 16, 64, 256
CHANNELS = 3
SECONDS = 1.5
"""No operation is repeated for longer, once it was measured five times."""


@cache
def head_like_mesh(triangle_count: int) -> tuple[Tensor, Tensor]:
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


def views(vertices: Tensor, batch: int, size: int = SIZE) -> Tensor:
    """The mesh in the standard crop of `size` pixels at yaws from -0.5 to 0.5: (batch, V, 3) pixels."""
    angles = torch.zeros(batch, 3)
    angles[:, 1] = torch.linspace(-0.5, 0.5, batch) if batch > 1 else 0.2
    translation = torch.tensor([[0.0, 0.0, 1000.0]]).expand(batch, 3)
    camera = head_to_camera(vertices[None].expand(batch, -1, -1), euler_to_matrix(angles), translation)
    return project_perspective(camera, standard_focal(size), (size / 2, size / 2)).contiguous()


def provenance(threads: int) -> dict:
    """Commit, hardware, how busy it was, and versions."""
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=here, capture_output=True, text=True
    ).stdout.strip()
    models = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    total = [int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "commit": commit or "unknown",
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(models) or None,
        "memory_gib": round(total[0], 1) if total else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": threads,
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


class Step:
    """What is measured: a batch of views, with random colours and a random gradient of the image."""

    def __init__(self, triangle_count: int, size: int, batch: int, device: str = "cpu"):
        vertices, triangles = head_like_mesh(triangle_count)
        generator = torch.Generator().manual_seed(0)
        self.size, self.batch = size, batch
        self.triangles, self.vertices = triangles.to(device), views(vertices, batch, size).to(device)
        self.colours = torch.rand(*self.vertices.shape[:2], CHANNELS, generator=generator).to(device)
        self.gradient = torch.rand(batch, size, size, CHANNELS, generator=generator).to(device)
        self.index, self.depth = self.run_rasterize()

    def run_rasterize(self, function: Callable = rasterize, **options) -> tuple[Tensor, Tensor]:
        return function(self.vertices, self.triangles, self.size, self.size, **options)

    def run_interpolate(self, function: Callable = interpolate) -> Tensor:
        with torch.no_grad():
            return function(self.index, self.vertices, self.triangles, self.colours)

    def run_backward(self, function: Callable = interpolate) -> tuple[Tensor, Tensor]:
        """Gradients of the vertices and of the colours."""
        leaves = self.vertices.detach().requires_grad_(), self.colours.detach().requires_grad_()
        image = function(self.index, leaves[0], self.triangles, leaves[1])
        return torch.autograd.grad(image, leaves, self.gradient)

    @property
    def operations(self) -> dict[str, tuple[Callable, Callable]]:
        """Name -> what is measured, and the slow reference that it can be called with."""
        return {
            "rasterize": (self.run_rasterize, rasterize_reference),
            "interpolate_forward": (self.run_interpolate, interpolate_reference),
            "interpolate_forward_backward": (self.run_backward, interpolate_reference),
        }


def milliseconds(function: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median and least time of one call, after a call that is not counted."""
    if repeats > 1:
        function()
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < repeats and (len(times) < 5 or time.perf_counter() < end):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return {"median": statistics.median(times), "least": min(times)}


# On the CPU


def measure_cpu(repeats: int, threads: int) -> Iterator[tuple[str, object]]:
    """Parts of the result, one after the other."""
    cases = list(product(TRIANGLES, SIZES))
    references = {case: reference_times(*case, repeats) for case in cases}
    yield "rows", [cpu_row(*case, batch, repeats, references[case]) for case, batch in product(cases, CPU_BATCHES)]
    yield "pytorch3d", pytorch3d_time()
    yield "memory", [memory(*case, 8) for case in cases]
    yield "two_threads_over_one", two_threads_over_one(repeats, threads)


def reference_times(triangle_count: int, size: int, repeats: int) -> dict[str, float]:
    """Ms of the slow references on one image: of `rasterize` one call, of `interpolate` the least of ten."""
    step = Step(triangle_count, size, 1)
    times = {}
    for name, (operation, reference) in step.operations.items():
        calls = 1 if name == "rasterize" else min(repeats, 10)
        times[name] = milliseconds(lambda run=operation, slow=reference: run(slow), calls)["least"]
    return times


def cpu_row(triangle_count: int, size: int, batch: int, repeats: int, references: dict[str, float]) -> dict:
    """Times of one mesh, image size and batch."""
    step = Step(triangle_count, size, batch)
    covered = round((step.index >= 0).float().mean().item(), 3)
    row = {"triangles": len(step.triangles), "size": size, "batch": batch, "covered": covered}
    for name, (operation, _) in step.operations.items():
        times = milliseconds(operation, repeats)
        row[name] = {
            "ms_per_image_median": round(times["median"] / batch, 3),
            "ms_per_image_least": round(times["least"] / batch, 3),
            "reference_ms_per_image": round(references[name], 3),
            "times_faster_than_reference": round(references[name] / (times["least"] / batch), 1),
        }
    print_row(row, [f"{name} {row[name]['ms_per_image_least']:.2f} ms" for name in step.operations])
    return row


def pytorch3d_time() -> dict | str:
    """PyTorch3D's rasteriser on one image, and how many pixels show the same triangle."""
    if importlib.util.find_spec("pytorch3d") is None:
        return "not installed"
    step = Step(TRIANGLES[0], SIZE, 1)
    rasterize(step.vertices, step.triangles[:2], 8, 8, backend="pytorch3d")  # loads the library
    start = time.perf_counter()
    index, _ = step.run_rasterize(backend="pytorch3d")
    elapsed = 1e3 * (time.perf_counter() - start)
    own = milliseconds(step.run_rasterize, 10)["least"]
    return {
        "version": importlib.metadata.version("pytorch3d"),
        "triangles": len(step.triangles),
        "size": SIZE,
        "rasterize_ms": round(elapsed, 1),
        "times_faster_than_it": round(elapsed / own, 1),
        "equal_pixels": (index == step.index).float().mean().item(),
    }


def memory(triangle_count: int, size: int, batch: int) -> dict:
    """How far one call raises the resident memory at its peak, bytes an image; None where the system does not tell."""
    step = Step(triangle_count, size, batch)
    row = {"triangles": triangle_count, "size": size, "batch": batch}
    for name, (operation, _) in step.operations.items():
        operation()
        growth = peak_growth(operation)
        row[f"{name}_bytes_per_image"] = None if growth is None else round(growth / batch)
    return row


def peak_growth(function: Callable[[], object]) -> int | None:
    """Bytes by which the peak of the resident memory during a call lies above what was resident before it (Linux)."""
    try:
        # Free memory that the process still holds would be used again without a trace; then the peak is forgotten.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (AttributeError, OSError):
        return None
    before = _resident("VmRSS")
    function()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    return next(1024 * int(line.split()[1]) for line in _lines("/proc/self/status") if line.startswith(name))


def two_threads_over_one(repeats: int, threads: int) -> dict | None:
    """How many times faster two threads are at batch 8, 70,000 triangles, 224 pixels; None on one core."""
    if len(os.sched_getaffinity(0)) < 2:
        return None
    step = Step(TRIANGLES[0], SIZE, 8)
    ratios = {}
    for name, (operation, _) in step.operations.items():
        least = {1: float("inf"), 2: float("inf")}
        for count in (1, 2) * max(2, repeats):
            torch.set_num_threads(count)
            least[count] = min(least[count], milliseconds(operation, 1)["least"])
        ratios[name] = round(least[1] / least[2], 2)
    torch.set_num_threads(threads)
    print(f"two threads over one at batch 8: {ratios}", flush=True)
    return ratios


# On a GPU


def measure_gpu() -> Iterator[tuple[str, object]]:
    """Parts of the result, one after the other."""
    bandwidth = copy_bandwidth()
    yield "copy_bandwidth_bytes_per_s", round(bandwidth)
    yield "parity_with_cpu", [parity(triangle_count) for triangle_count in TRIANGLES]
    yield "rows", [gpu_row(*case, bandwidth) for case in product(TRIANGLES, GPU_BATCHES)]


def copy_bandwidth(size: int = 2**30) -> float:
    """Bytes/s read and written by a copy of `size` bytes on the GPU."""
    source = torch.empty(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * size / gpu_seconds(lambda: target.copy_(source))


def gpu_seconds(function: Callable[[], object], rounds: int = 5, least_seconds: float = 0.2) -> float:
    """Time of one of many calls that follow one another: the least of several rounds."""
    for _ in range(3):
        function()
    calls, times = 1, []
    while len(times) < rounds:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            function()
        torch.cuda.synchronize()
        elapsed = time.perf_counter() - start
        if elapsed < least_seconds and not times:
            calls *= 2
        else:
            times.append(elapsed / calls)
    return min(times)


def gpu_row(triangle_count: int, batch: int, bandwidth: float) -> dict:
    """Images/s of one mesh and batch, and the floor."""
    step = Step(triangle_count, SIZE, batch, "cuda")

    def forward() -> Tensor:
        index, _ = step.run_rasterize()
        return interpolate(index, step.vertices, step.triangles, step.colours)

    def forward_backward() -> tuple[Tensor, Tensor]:
        step.run_rasterize()
        return step.run_backward()

    bytes_moved = {name: round(count / batch) for name, count in bytes_to_move(step).items()}
    floor = bandwidth / sum(bytes_moved.values())
    row = {"triangles": len(step.triangles), "size": SIZE, "batch": batch}
    for name, call in (
        ("rasterize", step.run_rasterize),
        ("rasterize_interpolate", forward),
        ("rasterize_interpolate_backward", forward_backward),
    ):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        rate = batch / gpu_seconds(call)
        peak = torch.cuda.max_memory_allocated() - before
        row[name] = {"images_per_s": round(rate), "peak_bytes_per_image": round(peak / batch)}
    row["floor"] = {
        "bytes_per_image": bytes_moved,
        "images_per_s": round(floor),
        "times_faster_than_measured": round(floor / row["rasterize_interpolate"]["images_per_s"], 1),
    }
    print_row(row, [f"{row['rasterize_interpolate']['images_per_s']} images/s, floor {round(floor)}"])
    return row


def bytes_to_move(step: Step) -> dict[str, int]:
    """What rasterize + interpolate must read or write at the least, bytes a batch.

    Rasterising reads all vertices and triangles (one list for the whole batch), interpolating those that are seen; the
    index is written by one step and read by the other. The z-buffer (8 bytes a pixel) counts for nothing: it may
    stay in the cache.
    """
    pixels = step.index.numel()
    seen = [step.triangles.long()[found[found >= 0].long()].unique().numel() for found in step.index]
    return {
        "vertices": (step.vertices.numel() + 3 * sum(seen)) * 4,
        "triangles": (step.triangles.numel() + 3 * step.index[step.index >= 0].unique().numel()) * 4,
        "triangle_index": 2 * pixels * 4,
        "depth": pixels * 4,
        "attributes": CHANNELS * sum(seen) * 4,
        "image": pixels * CHANNELS * 4,
    }


def parity(triangle_count: int, batch: int = 8) -> dict:
    """How far the GPU's results are from the CPU's; image and gradients where both interpolate the CPU's index."""
    cpu, gpu = Step(triangle_count, SIZE, batch), Step(triangle_count, SIZE, batch, "cuda")
    equal = gpu.index.cpu() == cpu.index
    depth_difference = torch.where(equal & (cpu.index >= 0), (gpu.depth.cpu() - cpu.depth).abs(), 0.0)
    gpu.index = cpu.index.to("cuda")
    row = {
        "triangles": len(cpu.triangles),
        "batch": batch,
        "equal_triangle_index": equal.float().mean().item(),
        "depth_largest_difference_mm": depth_difference.max().item(),
        "image_largest_difference": (gpu.run_interpolate().cpu() - cpu.run_interpolate()).abs().max().item(),
    }
    gradients = zip(gpu.run_backward(), cpu.run_backward(), strict=True)
    for name, (found, expected) in zip(("vertices", "attributes"), gradients, strict=True):
        difference = found.cpu() - expected
        row[f"{name}_gradient_largest_difference"] = difference.abs().max().item()
        row[f"{name}_gradient_relative_difference"] = (difference.norm() / expected.norm()).item()
    print(f"parity with the CPU: {row}", flush=True)
    return row


def print_row(row: dict, figures: list[str]) -> None:
    print(f"{row['triangles']} triangles, {row['size']} px, batch {row['batch']}: {', '.join(figures)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results = Path(__file__).parent / "results"
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="rendering.json or rendering_cuda.json in benchmarks/results")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this machine has no GPU that torch can use; on it these figures are not measured")
    out = arguments.out or results / ("rendering.json" if arguments.device == "cpu" else "rendering_cuda.json")
    result = {**provenance(arguments.threads), "device": arguments.device}
    on_cpu = arguments.device == "cpu"
    for name, part in measure_cpu(arguments.repeats, arguments.threads) if on_cpu else measure_gpu():
        result[name] = part
        # What was measured so far stays if the run is stopped.
        with atomic_file(out) as path:
            path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written {out}")


if __name__ == "__main__":
    main()
