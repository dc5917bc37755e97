"""The formats by the names that the command line takes."""

import os
from collections.abc import Sequence

from facerecon.errors import InputError
from facerecon.morphable.formats import bfm2009, bfm2017, facescape, flame, tddfa
from facerecon.morphable.source_model import SourceModel

READERS = {
    "bfm2009": bfm2009.read,
    "bfm2017": bfm2017.read,
    "bfm2019": bfm2017.read,
    "3ddfa": tddfa.read,
    "flame": flame.read,
    "facescape": facescape.read,
}
"""Format -> reader of its files, in any order."""


def read_source_model(name: str, files: Sequence[str | os.PathLike]) -> SourceModel:
    """The model of format `name` in the files, in any order.

    Raises InputError for an unknown format, for files that do not fit into memory, and as its reader.
    """
    if name not in READERS:
        raise InputError(f"{name}: unknown format; one of {', '.join(READERS)} is needed")
    try:
        return READERS[name](files)
    except MemoryError:
        raise InputError(f"{files[0]}: takes more memory than there is; convert it on a larger machine") from None
