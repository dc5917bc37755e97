"""Amplitude and phase losses on the 2D discrete Fourier transform (Diao and Jiang, section 3.2, eq. 8 to 15).

All transforms are orthonormal (divided by sqrt(M N), as the text below eq. 12 asks), one a channel. Since images are
real, half of the spectrum is computed and its columns are weighted such that means are those of the whole spectrum.

Value ranges for images in [0, 1]: the amplitude term is at most the mean squared pixel value, about 1e-2 between a
photograph and its render; the phase term is a mean angle in [0, pi], about 1 until the images agree.
"""

import math
from typing import Literal

import torch
from torch import Tensor

AmplitudeKind = Literal["printed", "modulus"]
PhaseKind = Literal["atan2", "printed"]

PHASE_FLOOR = 1e-2
"""Amplitude (of an orthonormal transform of images in [0, 1]) below which a frequency's phase gradient fades out."""


def frequency_loss(
    rendered: Tensor,
    target: Tensor,
    amplitude: AmplitudeKind = "modulus",
    phase: PhaseKind = "atan2",
    amplitude_weight: float = 0.5,
    phase_weight: float = 0.5,
    floor: float = PHASE_FLOOR,
) -> tuple[Tensor, Tensor, Tensor]:
    """FreLoss = 0.5 FALoss + 0.5 FPLoss (eq. 15), with FALoss and FPLoss: (total, amplitude term, phase term).

    rendered, target: (B, C, H, W) real images; the other arguments are those of `amplitude_loss` and `phase_loss`.
    """
    _check_images(rendered, target)
    width = rendered.shape[-1]
    spectra = torch.fft.rfft2(rendered, norm="ortho"), torch.fft.rfft2(target, norm="ortho")
    amplitude_term = _amplitude_term(*spectra, width, amplitude)
    phase_term = _phase_term(*spectra, width, phase, floor)
    return amplitude_weight * amplitude_term + phase_weight * phase_term, amplitude_term, phase_term


def amplitude_loss(rendered: Tensor, target: Tensor, kind: AmplitudeKind = "modulus") -> Tensor:
    """FALoss: mean over images, channels and frequencies of a squared difference of spectra.

    rendered, target: (B, C, H, W) real images.
    kind: "printed", |F_I - F_r|^2 (eq. 13), which by Parseval is the mean squared pixel difference; "modulus",
    (|F_I| - |F_r|)^2, which compares amplitudes alone. Raises ValueError for other shapes or kinds.
    """
    _check_images(rendered, target)
    spectra = torch.fft.rfft2(rendered, norm="ortho"), torch.fft.rfft2(target, norm="ortho")
    return _amplitude_term(*spectra, rendered.shape[-1], kind)


def phase_loss(rendered: Tensor, target: Tensor, kind: PhaseKind = "atan2", floor: float = PHASE_FLOOR) -> Tensor:
    """FPLoss (eq. 14): mean over images, channels and frequencies of |theta_I - theta_r|, radians.

    rendered, target: (B, C, H, W) real images.
    kind: "atan2", the angle of the complex value, differences wrapped to [-pi, pi]; "printed", arctan(b / a) of eq. 11,
    which confuses opposite values, differences (up to pi) not wrapped. A frequency without amplitude has phase 0.
    floor: >= 0. The true gradient of a phase grows as 1 / |F|; here it is multiplied by |F|^2 / (|F|^2 + floor^2), so
    that it is zero at zero amplitude and frequencies that hold noise do not drown the others. The value is exact.
    Raises ValueError for other shapes, kinds or a negative floor.
    """
    _check_images(rendered, target)
    spectra = torch.fft.rfft2(rendered, norm="ortho"), torch.fft.rfft2(target, norm="ortho")
    return _phase_term(*spectra, rendered.shape[-1], kind, floor)


def half_spectrum_weights(width: int, device: torch.device | None = None) -> Tensor:
    """How often each column of `rfft2` of images of `width` pixels occurs in the whole spectrum: (width // 2 + 1,).

    Column 0, and the last one of an even width, occur once; all others stand for themselves and their conjugates.
    """
    weights = torch.full((width // 2 + 1,), 2.0, device=device)
    weights[0] = 1.0
    if width % 2 == 0:
        weights[-1] = 1.0
    return weights


def _amplitude_term(rendered: Tensor, target: Tensor, width: int, kind: AmplitudeKind) -> Tensor:
    if kind == "printed":
        difference = torch.view_as_real(rendered - target).square().sum(-1)
    elif kind == "modulus":
        difference = (rendered.abs() - target.abs()).square()
    else:
        raise ValueError(f"amplitude kind must be printed or modulus, not {kind!r}")
    return _spectrum_mean(difference, width)


def _phase_term(rendered: Tensor, target: Tensor, width: int, kind: PhaseKind, floor: float) -> Tensor:
    if floor < 0:
        raise ValueError(f"floor must not be negative, not {floor}")
    difference = _phase(rendered, kind, floor) - _phase(target, kind, floor)
    if kind == "atan2":
        difference = difference - 2 * math.pi * torch.round(difference.detach() / (2 * math.pi))
    return _spectrum_mean(difference.abs(), width)


def _phase(spectrum: Tensor, kind: PhaseKind, floor: float) -> Tensor:
    real, imaginary = spectrum.real, spectrum.imag
    fixed_real, fixed_imaginary = real.detach(), imaginary.detach()
    if kind == "atan2":
        angle = torch.atan2(fixed_imaginary, fixed_real)
    elif kind == "printed":
        angle = torch.atan(fixed_imaginary / fixed_real).nan_to_num(0.0)
    else:
        raise ValueError(f"phase kind must be atan2 or printed, not {kind!r}")
    if not spectrum.requires_grad:
        return angle
    # d theta = (a db - b da) / |F|^2. The second summand is zero and carries that gradient, with the floor.
    power = fixed_real.square() + fixed_imaginary.square() + floor**2
    tangent = torch.where(power > 0, power, torch.inf).reciprocal()
    return angle + (fixed_real * imaginary - fixed_imaginary * real) * tangent


def _spectrum_mean(values: Tensor, width: int) -> Tensor:
    """Mean over the whole spectrum of a quantity that is the same at conjugate frequencies, from its half."""
    weights = half_spectrum_weights(width, values.device).to(values.dtype)
    return (values * weights).sum(-1).mean() / width


def _check_images(rendered: Tensor, target: Tensor) -> None:
    if rendered.ndim != 4 or rendered.shape != target.shape:
        raise ValueError(f"images must both be (B, C, H, W), not {tuple(rendered.shape)} and {tuple(target.shape)}")
