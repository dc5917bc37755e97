"""Put trained weights of an auxiliary network where the package carries them.

    python -m facerecon.training.tasks.carry landmarks RUN/model.safetensors

Leaves out what served training only, and refuses weights that are too large to carry, or whose card names no commit
that the training can be repeated from (`--allow-dirty` carries them all the same).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from torch import nn

from facerecon.errors import InputError
from facerecon.networks import weights as stored
from facerecon.networks.detector import load_detector
from facerecon.networks.landmarks import load_landmark_network
from facerecon.networks.parsing import load_parsing
from facerecon.networks.recognition import load_recognition

MAX_BYTES = 14_000_000  # of one file; those carried together: 35 million
UNKNOWN = "unknown"
_LOADERS = {
    "detector": load_detector,
    "landmarks": load_landmark_network,
    "parsing": load_parsing,
    "recognition": load_recognition,
}


def carry_weights(name: str, trained: Path, folder: Path | None = None, allow_dirty: bool = False) -> Path:
    """Store the network `name`, read from the file that its training wrote, and return where.

    folder: None is the package's own. allow_dirty: take weights whose training cannot be traced to a commit, too.
    The card's `commit` is that of the training. Raises InputError if the file is not such weights, or larger than
    MAX_BYTES when stored, or if its card says that the source was edited or unknown when it was trained.
    """
    network: nn.Module = _LOADERS[name](trained)
    card = stored.read_card(trained)
    commit = training_commit(card)
    if not allow_dirty and (commit == UNKNOWN or commit.endswith("-dirty")):
        raise InputError(
            f"{stored.card_path(trained)}: trained from commit {commit}; train from a clean checkout, or --allow-dirty"
        )
    folder = Path(stored.__file__).parent / "assets" if folder is None else Path(folder)
    path = folder / f"{name}.safetensors"
    size = sum(tensor.numel() * 2 for tensor in network.state_dict().values())
    if size > MAX_BYTES:
        raise InputError(
            f"{trained}: {size / 1e6:.1f} MB when stored, more than {MAX_BYTES / 1e6:.0f}; train it narrower"
        )
    stored.save_weights(path, network.state_dict(), {**card, "commit": commit})
    return path


def training_commit(card: dict[str, Any]) -> str:
    """Commit of the source that trained the weights of a card, with `-dirty` if it was edited, or UNKNOWN."""
    return str((card.get("provenance") or {}).get("commit") or card.get("commit") or UNKNOWN)


def main() -> None:
    """Command line; exits with status 2 and one line on a bad file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(_LOADERS))
    parser.add_argument("trained", type=Path, help="model.safetensors that facerecon train NAME wrote")
    parser.add_argument("--allow-dirty", action="store_true", help="carry weights that no commit can be named for")
    arguments = parser.parse_args()
    try:
        print(carry_weights(arguments.name, arguments.trained, allow_dirty=arguments.allow_dirty))
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
