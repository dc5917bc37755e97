"""Put trained weights of an auxiliary network where the package carries them.

    python -m facerecon.training.tasks.carry landmarks RUN/model.safetensors

Leaves out what served training only, and refuses weights that are too large to carry.
"""

import argparse
import sys
from pathlib import Path

from torch import nn

from facerecon.errors import InputError
from facerecon.networks import weights as stored
from facerecon.networks.detector import load_detector
from facerecon.networks.landmarks import load_landmark_network
from facerecon.networks.parsing import load_parsing
from facerecon.networks.recognition import load_recognition
from facerecon.provenance import source_commit

MAX_BYTES = 7_000_000
_LOADERS = {
    "detector": load_detector,
    "landmarks": load_landmark_network,
    "parsing": load_parsing,
    "recognition": load_recognition,
}


def carry_weights(name: str, trained: Path, folder: Path | None = None) -> Path:
    """Store the network `name`, read from the file that its training wrote, and return where.

    folder: None is the package's own. The card gains the source's commit. Raises InputError if the file is not such
    weights, or larger than MAX_BYTES when stored.
    """
    network: nn.Module = _LOADERS[name](trained)
    card = stored.read_card(trained)
    folder = Path(stored.__file__).parent / "assets" if folder is None else Path(folder)
    path = folder / f"{name}.safetensors"
    size = sum(tensor.numel() * 2 for tensor in network.state_dict().values())
    if size > MAX_BYTES:
        raise InputError(
            f"{trained}: {size / 1e6:.1f} MB when stored, more than {MAX_BYTES / 1e6:.0f}; train it narrower"
        )
    stored.save_weights(path, network.state_dict(), {**card, "commit": source_commit()})
    return path


def main() -> None:
    """Command line; exits with status 2 and one line on a bad file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(_LOADERS))
    parser.add_argument("trained", type=Path, help="model.safetensors that facerecon train NAME wrote")
    arguments = parser.parse_args()
    try:
        print(carry_weights(arguments.name, arguments.trained))
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
