"""`rasterize` and `interpolate` on the CPU against PyTorch3D's: what they draw, their gradients and their time.

    PYTHONPATH=src python benchmarks/pytorch3d_parity.py --built-from "facebookresearch/pytorch3d COMMIT" [--out FILE]

The head-like mesh of benchmarks/rendering.py in the standard crop, 224 x 224 pixels, culled, one image; 2,000, 10,000
and 70,000 triangles; three channels. PyTorch3D is used as it comes: `rasterize_meshes`, `interpolate_face_attributes`.
Gradients of a random linear function of the pixels in which both see the same triangle are compared with each other
and with those of `facerecon.render.reference.interpolate_reference` in float64; a difference is the norm of the
difference divided by the norm of what is compared with. Times are the processor's in one process on one thread, which
a busy machine lengthens less than the clock's: PyTorch3D's of its one forward call, ours the least and the median of
many. Needs PyTorch3D (envs/pytorch3d.yaml); takes about a minute on an idle core.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rendering import SIZE, head_like_mesh, provenance, views

from facerecon.artefacts import atomic_file
from facerecon.render.backends.pytorch3d_adapter import pixels_to_ndc
from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize
from facerecon.render.reference import interpolate_reference

TRIANGLES = 2_000, 10_000, 70_000
CHANNELS = 3


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference, divided by the norm of `expected`."""
    return float(f"{((found.double() - expected.double()).norm() / expected.double().norm()).item():.2e}")


def processor_milliseconds(function: Callable[[], object], repeats: int) -> list[float]:
    """Processor time of each call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(1e3 * (time.process_time() - start))
    return times


def rasterize_by_pytorch3d(vertices: torch.Tensor, triangles: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """PyTorch3D's index, depth and barycentric weights (1, SIZE, SIZE, 1[, 3]) of one mesh in pixels (1, V, 3)."""
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    index, depth, weights, _ = rasterize_meshes(
        Meshes(list(pixels_to_ndc(vertices, SIZE, SIZE)), [triangles.long()]),
        image_size=SIZE,
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=True,
        cull_backfaces=True,
    )
    return index, depth, weights


def compare(triangle_count: int, repeats: int) -> dict:
    """One row of results."""
    from pytorch3d.ops import interpolate_face_attributes

    mesh, triangles = head_like_mesh(triangle_count)
    generator = torch.Generator().manual_seed(0)
    leaves = views(mesh, 1).requires_grad_(), torch.randn(1, len(mesh), CHANNELS, generator=generator).requires_grad_()
    vertices, attributes = leaves

    index, depth = rasterize(vertices, triangles, SIZE, SIZE, backend="cpu")
    our_times = processor_milliseconds(lambda: rasterize(vertices, triangles, SIZE, SIZE, backend="cpu"), repeats)
    drawn: list[tuple[torch.Tensor, ...]] = []
    their_time = processor_milliseconds(lambda: drawn.append(rasterize_by_pytorch3d(vertices, triangles)), 1)[0]
    packed_index, packed_depth, barycentric = drawn[0]
    their_index, their_depth = packed_index[..., 0], packed_depth[..., 0].detach()

    same = index == their_index
    both = same & (index >= 0)
    depth_difference = ((their_depth - depth).abs() / depth)[both]

    ours = interpolate(index, vertices, triangles, attributes)
    theirs = interpolate_face_attributes(packed_index, barycentric, attributes[0, triangles.long()])[..., 0, :]
    gradient = torch.randn(ours.shape, generator=generator) * both[..., None]
    our_gradients, their_gradients = (torch.autograd.grad(image, leaves, gradient) for image in (ours, theirs))
    exact_leaves = [leaf.detach().double().requires_grad_() for leaf in leaves]
    exact = interpolate_reference(index, exact_leaves[0], triangles, exact_leaves[1])
    exact_gradients = torch.autograd.grad(exact, exact_leaves, gradient.double())

    def differences(found: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]) -> dict[str, float]:
        return {
            "vertices_xy": relative(found[0][..., :2], expected[0][..., :2]),
            "vertices_z": relative(found[0][..., 2], expected[0][..., 2]),
            "attributes": relative(found[1], expected[1]),
        }

    mask = both[..., None]
    return {
        "triangles": len(triangles),
        "covered": round((index >= 0).float().mean().item(), 3),
        "pixels": index.numel(),
        "pixels_with_equal_triangle_index": int(same.sum()),
        "share_equal": round(same.double().mean().item(), 6),
        "pixels_only_ours": int(((index >= 0) & (their_index < 0)).sum()),
        "pixels_only_pytorch3d": int(((index < 0) & (their_index >= 0)).sum()),
        "largest_relative_depth_difference": float(f"{depth_difference.max().item():.2e}"),
        "image_difference": relative(ours * mask, theirs * mask),
        "image_ours_against_float64": relative(ours * mask, exact * mask),
        "image_pytorch3d_against_float64": relative(theirs * mask, exact * mask),
        "gradients_ours_against_pytorch3d": differences(our_gradients, their_gradients),
        "gradients_ours_against_float64": differences(our_gradients, exact_gradients),
        "gradients_pytorch3d_against_float64": differences(their_gradients, exact_gradients),
        "rasterize_processor_ms": {
            "ours_least": round(min(our_times), 3),
            "ours_median": round(statistics.median(our_times), 3),
            "pytorch3d": round(their_time, 1),
            "pytorch3d_over_our_median": round(their_time / statistics.median(our_times)),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "pytorch3d_parity.json")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument(
        "--built-from", default="unknown", help="where PyTorch3D came from, for the record: package, commit"
    )
    arguments = parser.parse_args()
    if importlib.util.find_spec("pytorch3d") is None:
        parser.exit(2, "PyTorch3D is not installed: run this in the environment of envs/pytorch3d.yaml\n")
    import pytorch3d

    torch.set_num_threads(1)
    rows = []
    for count in TRIANGLES:
        row = compare(count, arguments.repeats)
        rows.append(row)
        print(json.dumps(row), flush=True)
    versions = {"pytorch3d": pytorch3d.__version__, "pytorch3d_built_from": arguments.built_from}
    with atomic_file(arguments.out) as path:
        results = {**provenance(threads=1), **versions, "size": SIZE, "channels": CHANNELS, "rows": rows}
        path.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written {arguments.out}")


if __name__ == "__main__":
    main()
