"""The provenance attribute of preprocessing tables."""

import json
import os
from collections.abc import Mapping

from facerecon.artefacts import sha256_file
from facerecon.networks.weights import carried_weights
from facerecon.provenance import ATTRIBUTE, provenance_record


def stage_record(
    stage: str,
    settings: Mapping[str, object],
    inputs: Mapping[str, str | os.PathLike],
    weights: Mapping[str, str | os.PathLike | None] | None = None,
) -> dict[str, str]:
    """The record of a stage as an HDF5 attribute, by its name; inputs and weights enter by their SHA-256.

    weights: network -> file, None for the carried one.
    """
    files = {name: path or carried_weights(name) for name, path in (weights or {}).items()}
    identities = {name: sha256_file(path) for name, path in {**inputs, **files}.items()}
    return {ATTRIBUTE: json.dumps(provenance_record(stage, settings, inputs=identities), sort_keys=True)}
