"""Accuracy of the recognition network: rank 1 among many identities, and verification of pairs."""

import sys

import numpy as np
from numpy.typing import NDArray

from facerecon.errors import InputError
from facerecon.evaluate.groups import groups_of
from facerecon.evaluate.statistics import Figure, Measure, mean_measure
from facerecon.networks.recognition import INPUT_SIZE, REGION, RecognitionNetwork
from facerecon.training.evaluation import IDENTITIES
from facerecon.training.tasks.crops import StandardCrops
from facerecon.training.tasks.identification import embed_photographs, gallery_and_probes, identify, verification
from facerecon.training.tasks.photographs import PhotographStore

_PAIRS = 200_000  # of different people, drawn at random
_SEED = 0


def recognition_measures(
    store: PhotographStore, network: RecognitionNetwork, identities: int = IDENTITIES
) -> tuple[list[Measure], list[Figure]]:
    """Rank 1 of the probes of the first `identities` subjects that the gallery can hold, by groups of the probe; and
    verification over all pairs of gallery photograph and probe of one person, and as random pairs of different ones.
    With fewer people than asked for, which makes rank 1 easier, a line on stderr says so, and so does the row
    `identities_asked` beside `identities`.

    The protocol is that of `training.tasks.identification`. Raises InputError if the photographs hold fewer than two
    such people.
    """
    crops = StandardCrops(store, INPUT_SIZE, region=REGION)
    usable = np.flatnonzero(crops.usable)
    attributes = {name: column[usable] for name, column in store.attributes.items()}
    gallery, probes = (usable[part] for part in gallery_and_probes(store.subjects[usable], attributes))
    gallery = gallery[:identities]
    probes = probes[np.isin(store.subjects[probes], store.subjects[gallery])]
    if len(gallery) < 2:
        raise InputError(f"{len(gallery)} people with a frontal photograph and another; recognition needs two at least")
    if len(gallery) < identities:
        print(
            f"evaluate networks: recognition among {len(gallery)} people, {identities} were asked for", file=sys.stderr
        )
    known, asked = embed_photographs(network, crops, gallery), embed_photographs(network, crops, probes)
    known_subjects, subjects = store.subjects[gallery], store.subjects[probes]
    right = identify(known, known_subjects, asked, subjects)
    groups = groups_of({name: column[probes] for name, column in store.attributes.items()})
    measures = [mean_measure("recognition", "rank_1", right, subjects, groups)]
    similarity, same = _pairs(known, known_subjects, asked, subjects)
    nothing = (float("nan"), float("nan"))
    counts = {"identities": len(gallery), "identities_asked": identities}
    rows = [
        Figure("recognition", name, "all", "all", len(gallery), float(count), *nothing)
        for name, count in counts.items()
    ]
    for name, value in verification(similarity, same).items():
        rows.append(Figure("recognition", name, "all", "all", len(same), value, *nothing))
    return measures, rows


def _pairs(known: NDArray, known_subjects: NDArray, asked: NDArray, subjects: NDArray) -> tuple[NDArray, NDArray]:
    """Similarities (N,) of all pairs of a gallery photograph and a probe of one person, and of random other pairs, and
    whether they are of the first kind."""
    own = np.searchsorted(known_subjects, subjects)
    genuine = np.einsum("nd,nd->n", known[own], asked)
    rng = np.random.default_rng(_SEED)
    probe = rng.integers(0, len(asked), _PAIRS)
    other = rng.integers(0, len(known), _PAIRS)
    different = known_subjects[other] != subjects[probe]
    impostor = np.einsum("nd,nd->n", known[other[different]], asked[probe[different]])
    return np.concatenate([genuine, impostor]), np.arange(len(genuine) + len(impostor)) < len(genuine)
