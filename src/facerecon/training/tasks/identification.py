"""How well embeddings tell people apart: verification of pairs, and identification among many (rank 1).

The protocol of identification. A photograph is usable if nothing is held before the face and at most 15 % of the
landmarks in the picture are hidden by anything but the bare head (hair, hat, dark glasses). Of each subject the gallery
holds one photograph: of the usable ones that whose face turns least from the camera, if by GALLERY_ANGLE at most. The
probes are all other usable photographs of these subjects, at any pose and light, with any expression, glasses and hat.
A probe is right if the gallery photograph most similar to it (cosine) shows its subject; rank 1 is the share that is.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from facerecon.networks.convolutions import to_tensor
from facerecon.networks.recognition import RecognitionNetwork
from facerecon.training.tasks.crops import StandardCrops

GALLERY_ANGLE = np.radians(30.0)
"""Largest angle between the camera and where a face in the gallery looks."""
_LARGEST_OCCLUSION = 0.15
_BATCH = 64


def embed_photographs(network: RecognitionNetwork, crops: StandardCrops, indices: NDArray) -> NDArray[np.float32]:
    """Unit embeddings (N, 512) of the exact standard crops of photographs, each averaged with its mirror image's."""
    device = next(network.parameters()).device
    embedded = []
    for start in range(0, len(indices), _BATCH):
        batch = [crops.image(index, crops.matrix(index)) for index in indices[start : start + _BATCH]]
        images = to_tensor(np.stack(batch), device)
        with torch.inference_mode():
            both = F.normalize(network(images), dim=1) + F.normalize(network(images.flip(3)), dim=1)
            embedded.append(F.normalize(both, dim=1).cpu().numpy())
    return np.concatenate(embedded)


def gallery_and_probes(subjects: NDArray, attributes: Mapping[str, NDArray]) -> tuple[NDArray, NDArray]:
    """Positions of the gallery's photographs, one a subject, and of the probes, by the protocol above.

    subjects: (N,). attributes: of the ground truth, (N, ...): `rotation`, and `occlusion` and `occluded` if known. Both
    results are empty if no subject has a photograph for the gallery and one more.
    """
    if "rotation" not in attributes:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    bare = attributes.get("occlusion", np.zeros(len(subjects))) <= _LARGEST_OCCLUSION
    bare &= ~attributes.get("occluded", np.zeros(len(subjects), bool)).astype(bool)
    pitch, yaw = attributes["rotation"][:, 0], attributes["rotation"][:, 1]
    turned = np.arccos(np.clip(np.cos(pitch) * np.cos(yaw), -1, 1))
    gallery, probes = [], []
    for subject in np.unique(subjects):
        own = np.flatnonzero((subjects == subject) & bare)
        if len(own) < 2 or turned[own].min() > GALLERY_ANGLE:
            continue
        first = own[turned[own].argmin()]
        gallery.append(first)
        probes += own[own != first].tolist()
    return np.array(gallery, np.int64), np.array(probes, np.int64)


def identify(
    gallery: NDArray, gallery_subjects: NDArray, probes: NDArray, probe_subjects: NDArray
) -> NDArray[np.bool_]:
    """Whether each probe (P, D) is most similar to the gallery photograph (G, D) of its own subject: (P,)."""
    return gallery_subjects[(probes @ gallery.T).argmax(1)] == probe_subjects


def verification(similarity: NDArray, same: NDArray) -> dict[str, float]:
    """How well a similarity tells whether two photographs show one person.

    similarity: (N,) of pairs; same: (N,) bool. Returns accuracy: the mean of both kinds' rates at the best threshold;
    tar_at_far_1pc: share of same-person pairs accepted where 1 % of the others are; auc: area under the ROC curve.
    Raises ValueError unless both kinds occur.
    """
    similarity, same = np.asarray(similarity, np.float64), np.asarray(same, bool)
    genuine, impostor = np.sort(similarity[same]), np.sort(similarity[~same])
    if not len(genuine) or not len(impostor):
        raise ValueError("verification needs pairs of the same and of different people")
    thresholds = np.unique(similarity)
    accepted = 1 - np.searchsorted(genuine, thresholds, "left") / len(genuine)
    refused = np.searchsorted(impostor, thresholds, "left") / len(impostor)
    strict = np.quantile(impostor, 0.99, method="higher")
    below = np.searchsorted(impostor, genuine, "left") + np.searchsorted(impostor, genuine, "right")
    return {
        "accuracy": float(((accepted + refused) / 2).max()),
        "tar_at_far_1pc": float((genuine > strict).mean()),
        "auc": float(below.mean() / 2 / len(impostor)),
    }
