"""Who is in synthetic photographs, and whom a network has met in training.

A person is a seed and the number of a subject: `facerecon data synthesize` draws the same person from both, in whatever
shard. Cards hold people as ranges, {seed: [[first, last], ...]}.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Ranges = Mapping[str, Sequence[Sequence[int]]]
"""Seed, as JSON's keys are text -> ranges of subjects' numbers, both ends included."""


def subject_ranges(people: Iterable[tuple[int, int]]) -> dict[str, list[list[int]]]:
    """The ranges of (seed, subject) pairs, in order, each as long as can be."""
    ranges: dict[str, list[list[int]]] = {}
    for seed, subject in sorted(set(people)):
        of_seed = ranges.setdefault(str(seed), [])
        if of_seed and of_seed[-1][1] == subject - 1:
            of_seed[-1][1] = subject
        else:
            of_seed.append([subject, subject])
    return ranges


def shared_person(one: Ranges, other: Ranges) -> tuple[int, int] | None:
    """Seed and subject of the first person in both, None if there is none."""
    for seed in sorted(set(one) & set(other), key=int):
        starts = [
            max(first[0], second[0])
            for first in one[seed]
            for second in other[seed]
            if max(first[0], second[0]) <= min(first[1], second[1])
        ]
        if starts:
            return int(seed), min(starts)
    return None


def training_data(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a card tells of the photographs that its network, and the networks that it began from, were trained on.

    Each is what `PhotographStore.card` gave; cards of version 0.1.0 lack `people` and `shards_sha256`.
    """
    return [data for data in (card.get("data"), *(card.get("earlier_data") or [])) if data]
