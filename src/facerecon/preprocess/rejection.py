"""When a stage must fail: too many images that it cannot use."""

from collections import Counter
from collections.abc import Sequence

from facerecon.data.tables import Rejection
from facerecon.errors import InputError


def check_rejected(own: Sequence[Rejection], total: int, limit: float, name: str) -> None:
    """Raise InputError, with the commonest reasons, if more than `limit` of `total` images were rejected, or all.

    own: what this stage rejected. name: what was being processed, for the message.
    """
    if total and (len(own) > limit * total or len(own) == total):
        reasons = Counter(_general(row) for row in own).most_common(3)
        said = "; ".join(f"{count} x {reason}" for reason, count in reasons)
        allowed = f"limit {limit:.0%} (preprocess.max_rejected_fraction)"
        raise InputError(f"{name}: {len(own)} of {total} images rejected, {allowed}: {said}")


def _general(rejection: Rejection) -> str:
    """The reason without the file's own name, so that equal reasons count together."""
    return rejection.reason.rpartition(": ")[2]
