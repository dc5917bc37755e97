"""Triton's kernels: equal to numba's in a process of their own, and compiled for GPUs without one."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: torch for CUDA brings it on Linux"
)

# One process compiles all: importing torch and Triton takes longer than most kernels.
COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from facerecon.render.backends import triton_cuda, triton_kernels

LAUNCHES = {"draw_small": triton_cuda.DRAW_SMALL, "draw_large": triton_cuda.DRAW_LARGE, "unpack": triton_cuda.UNPACK}
TYPES = {"nearest": "*i64", "large": "*i64", "large_count": "*i64", "triangles": "*i32", "triangle_index": "*i32"}
TYPES |= {"depth": "*fp32", "steps": "fp32"}
REALS = ("vertices", "attributes", "values", "gradient", "vertices_gradient", "attributes_gradient")

found = []
for name, real, capability, chosen in json.loads(sys.argv[1]):
    kernel = getattr(triton_kernels, name)
    types = TYPES | {tensor: "*" + real for tensor in REALS}
    launch = LAUNCHES.get(name, triton_cuda.INTERPOLATION) | chosen
    fixed = {part: launch.pop(part) for part in kernel.arg_names if part in launch}
    signature = {part: "constexpr" if part in fixed else types.get(part, "i32") for part in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=launch)
    found.append({"ptx": compiled.asm["ptx"], "cubin": len(compiled.asm["cubin"])})
print(json.dumps(found))
"""
NEAREST = {"atom.global.gpu.relaxed.max.s64", "mul.rn.f64", "add.rn.f64", "div.rn.f64", "cvt.rn.f32.f64"}
KERNELS = {
    "draw_small": NEAREST | {"atom.global.gpu.relaxed.add.u64"},
    "draw_large": NEAREST,
    "unpack": {"div.rn.f32"},
    "interpolate": {"mul.rn", "div.rn"},
    "interpolate_backward": {"atom.global.gpu.relaxed.add", "mul.rn", "div.rn"},
}
"""Kernel -> instructions that it cannot do without: atomic operations, products and quotients rounded as IEEE says."""
CULLED, ALL = {"CULL": True}, {"CULL": False}
BOTH, VERTICES, ATTRIBUTES = (
    {"TO_VERTICES": to_vertices, "TO_ATTRIBUTES": to_attributes}
    for to_vertices, to_attributes in ((True, True), (True, False), (False, True))
)
USUAL = {"draw_small": CULLED, "draw_large": CULLED, "interpolate_backward": BOTH}
CASES = [(name, "fp32", capability, USUAL.get(name, {})) for name in KERNELS for capability in (80, 90)]
CASES += [(name, "fp64", 90, USUAL.get(name, {})) for name in KERNELS if name != "unpack"]
CASES += [(name, "fp32", 90, ALL) for name in ("draw_small", "draw_large")]
CASES += [("interpolate_backward", "fp32", 90, chosen) for chosen in (VERTICES, ATTRIBUTES)]
"""Kernel, the vertices' dtype, compute capability, and what a call chooses; the rest is as triton_cuda launches it."""


def run_python(*arguments, **environment):
    """Run Python with these environment variables; None removes one."""
    chosen = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *arguments],
        env={name: value for name, value in chosen.items() if value is not None},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
    )


def check_against_numba(interpret):
    """Run triton_checks.py, all of it."""
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "triton_checks.py"))
    answer = run_python(*command, TRITON_INTERPRET=interpret, PYTEST_ADDOPTS=None, PYTEST_XDIST_WORKER=None)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    summary = answer.stdout.splitlines()[-1]
    assert re.match(r"=* ?\d+ passed", summary) and not re.search("skipped|deselected|xfailed", summary), summary


def test_equal_to_numba_under_the_interpreter():
    check_against_numba("1")


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch sees no GPU: the kernels ran under the interpreter only"
)
def test_equal_to_numba_on_a_gpu():
    check_against_numba(None)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The PTX and the size of the cubin of each case."""
    answer = run_python(
        "-c",
        COMPILE,
        json.dumps(CASES),
        TRITON_INTERPRET=None,
        TRITON_CACHE_DIR=str(tmp_path_factory.mktemp("triton")),
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", range(len(CASES)), ids=["-".join(map(str, case)) for case in CASES])
def test_kernels_compile_without_a_gpu(compiled, case):
    found, (kernel, _, capability, _) = compiled[case], CASES[case]
    assert found["cubin"] > 1000
    assert f".target sm_{capability}" in found["ptx"]
    missing = {instruction for instruction in KERNELS[kernel] if instruction not in found["ptx"]}
    assert not missing
    # Fused multiply-adds round once where numba rounds twice, and .ftz drops the smallest numbers.
    assert "fma." not in found["ptx"] and ".ftz" not in found["ptx"]
    assert not re.search(r"\s(mul|add|sub)\.f(32|64)\s", found["ptx"])
