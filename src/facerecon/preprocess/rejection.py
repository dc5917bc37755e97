"""When a stage must fail: too many images that it cannot use."""

import sys
from collections import Counter
from collections.abc import Sequence

from facerecon.data.tables import Rejection
from facerecon.errors import InputError

LEAST_JUDGED = 20
"""Fewer images than this never fail a stage, as the last shard of a data set may have: one bad picture is too much of
a few, and says nothing of the rest."""


def check_rejected(own: Sequence[Rejection], total: int, limit: float, name: str) -> None:
    """Raise InputError if more than `limit` of `total` images, and those not few, were rejected; else say how many.

    own: what this stage rejected. name: what was being processed, for the message, which has the commonest reasons.
    """
    if not own:
        return
    reasons = Counter(_general(row) for row in own).most_common(3)
    said = "; ".join(f"{count} x {reason}" for reason, count in reasons)
    counted = f"{name}: {len(own)} of {total} images rejected"
    if total >= LEAST_JUDGED and len(own) > limit * total:
        raise InputError(f"{counted}, limit {limit:.0%} (preprocess.max_rejected_fraction): {said}")
    print(f"{counted}: {said}", file=sys.stderr, flush=True)


def _general(rejection: Rejection) -> str:
    """The reason without the file's own name, so that equal reasons count together."""
    return rejection.reason.rpartition(": ")[2]
