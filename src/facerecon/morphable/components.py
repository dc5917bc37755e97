"""Principal components of mirror-symmetric populations: each component is its own mirror image or the negative of it.

A face and its mirror image are taken as equally likely. The symmetric and antisymmetric parts of such samples are
uncorrelated, so their components are found apart and merged by variance; mirroring a face then only flips signs of
coefficients.
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg

Mirror = Callable[[np.ndarray], np.ndarray]


def mirrored_components(samples: np.ndarray, mirror: Mirror, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and `count` components of samples (n, V, 3) and their mirror images.

    mirror: maps (..., V, 3) to its mirror image. Returns the mean (V, 3), the basis (count, V, 3) in the samples' unit
    a standard deviation, by falling variance, and the sign (count,), +1 or -1, of each component's mirror image.
    """
    mean = samples.mean(0, dtype=np.float64)
    mean = (mean + mirror(mean)) / 2
    centred = (samples - mean).astype(np.float32)
    image = mirror(centred)
    freedom = len(samples) - 1
    return mean, *_merge(
        _scaled_components((centred + image) / 2, freedom, count),
        _scaled_components((centred - image) / 2, freedom, count),
        count,
    )


def expression_components(
    targets: np.ndarray, partners: np.ndarray, weights: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Components of expressions `weights` (n, k) times targets (k, V, 3), not centred: the zero expression is neutral.

    partners: (k,) index of each target's mirror image, exact. Returns the basis (count, V, 3), in which the sampled
    expressions' coefficients have unit root mean square, and the sign (count,) of each component's mirror image.
    """
    image = weights[:, partners]
    parts = []
    for part in ((weights + image) / 2, (weights - image) / 2):
        moments, axes = np.linalg.eigh(part.T @ part / len(part))
        root = np.sqrt(np.maximum(moments, 0))[:, None] * axes.T
        parts.append(_scaled_components(np.tensordot(root, targets, 1), 1, count))
    return _merge(*parts, count)


def _scaled_components(rows: np.ndarray, freedom: int, count: int) -> np.ndarray:
    """Components (m, V, 3) of rows (n, V, 3) times their root mean square over `freedom`; m <= count, falling."""
    flat = rows.reshape(len(rows), -1)
    gram = (flat @ flat.T).astype(np.float64)
    last = len(gram) - 1
    _, vectors = scipy.linalg.eigh(gram, subset_by_index=(max(0, last - count + 1), last))
    components = vectors[:, ::-1].T @ flat.astype(np.float64) / np.sqrt(freedom)
    return components.reshape(-1, *rows.shape[1:])


def _merge(symmetric: np.ndarray, antisymmetric: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    basis = np.concatenate([symmetric, antisymmetric])
    signs = np.repeat([1, -1], [len(symmetric), len(antisymmetric)])
    flat = basis.reshape(len(basis), -1)
    order = np.argsort(-np.linalg.norm(flat, axis=1), kind="stable")[:count]
    peak = np.take_along_axis(flat, np.abs(flat).argmax(1)[:, None], axis=1)
    basis = basis * np.sign(peak)[:, :, None]
    return basis[order], signs[order]
