import importlib.util
import subprocess
import sys

import pytest
import torch

from facerecon.errors import InputError
from facerecon.render.backends import BACKENDS, numba_cpu, resolve_backend
from facerecon.render.interpolate import interpolate
from facerecon.render.rasterize import rasterize

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)
RIGHT_TRIANGLE = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 4, 10]]])
ONE = torch.tensor([[0, 1, 2]], dtype=torch.int32)


@pytest.fixture
def installed(monkeypatch):
    """A function that makes the package say it has these libraries, whether it has them or not."""

    def make(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in names else None)

    return make


@pytest.mark.parametrize("name", [None, "auto", "cpu"])
def test_the_cpu_is_numba_s(name):
    assert resolve_backend(name, CPU) is numba_cpu


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize("name", [None, "auto", "triton"])
def test_cuda_is_triton_s(name):
    assert resolve_backend(name, CUDA).__name__ == "facerecon.render.backends.triton_cuda"


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_pytorch3d_serves_every_device(installed, device):
    installed("pytorch3d")
    assert resolve_backend("pytorch3d", device).__name__ == "facerecon.render.backends.pytorch3d_adapter"


@pytest.mark.parametrize(
    ("name", "device", "said"),
    [
        ("gpu", CPU, "'gpu' is not available: choose one of auto, cpu, triton, pytorch3d"),
        ("cpu", CUDA, r"'cpu' got tensors on cuda:1: move them with \.cpu\(\)"),
        ("triton", CPU, "'triton' got tensors on cpu: move them to CUDA"),
        ("auto", torch.device("mps"), "no renderer runs on mps"),
        (None, torch.device("meta"), "no renderer runs on meta"),
    ],
)
def test_what_cannot_serve_the_device_is_refused(monkeypatch, installed, name, device, said):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    installed("triton", "pytorch3d")
    with pytest.raises(InputError, match=said) as raised:
        resolve_backend(name, device)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "device", "said"),
    [
        ("triton", CUDA, "'triton' is not installed"),
        (None, CUDA, "'triton' is not installed"),
        ("pytorch3d", CPU, r"'pytorch3d' is not installed: see envs/pytorch3d\.yaml"),
    ],
)
def test_what_is_not_installed_is_refused(installed, name, device, said):
    installed()
    with pytest.raises(InputError, match=said):
        resolve_backend(name, device)


def test_operations_refuse_it_too(installed):
    installed()
    index, _ = rasterize(RIGHT_TRIANGLE, ONE, 4, 4, backend="auto")
    with pytest.raises(InputError, match="not installed"):
        rasterize(RIGHT_TRIANGLE, ONE, 4, 4, backend="pytorch3d")
    with pytest.raises(InputError, match="not installed"):
        interpolate(index, RIGHT_TRIANGLE, ONE, RIGHT_TRIANGLE, backend="pytorch3d")


def test_pytorch3d_interpolates_as_the_device_does(installed):
    installed("pytorch3d")
    index, _ = rasterize(RIGHT_TRIANGLE, ONE, 4, 4)
    images = [interpolate(index, RIGHT_TRIANGLE, ONE, RIGHT_TRIANGLE, backend=name) for name in ("cpu", "pytorch3d")]
    assert torch.equal(*images)


@pytest.mark.parametrize("name", BACKENDS)
def test_all_are_named_to_users(name):
    with pytest.raises(InputError, match=name):
        resolve_backend("other", CPU)


def test_rendering_on_the_cpu_needs_neither_triton_nor_pytorch3d():
    code = (
        "import sys; sys.modules['triton'] = sys.modules['pytorch3d'] = None\n"
        "import torch\nfrom facerecon.render.rasterize import rasterize\n"
        "from facerecon.render.interpolate import interpolate\n"
        "v = torch.tensor([[[0.0, 0, 10], [0, 4, 10], [4, 4, 10]]]); t = torch.tensor([[0, 1, 2]])\n"
        "print(interpolate(rasterize(v, t, 4, 4)[0], v, t, v).sum().item() > 0)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "True", answer.stderr
