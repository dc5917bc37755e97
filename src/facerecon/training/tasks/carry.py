"""Put trained weights where the package carries them.

    python -m facerecon.training.tasks.carry landmarks RUN/model.safetensors

Leaves out what served training only, and refuses weights that are too large to carry, or whose card names no commit
that the training can be repeated from (`--allow-dirty` carries them all the same). `--data SHARD`, once a shard,
completes a card of an earlier version that does not say whom the network was trained on.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from facerecon.errors import InputError
from facerecon.morphable.storage import load_face_model
from facerecon.networks import weights as stored
from facerecon.networks.detector import load_detector
from facerecon.networks.landmarks import load_landmark_network
from facerecon.networks.parsing import load_parsing
from facerecon.networks.recognition import load_recognition
from facerecon.training.tasks.people import training_data
from facerecon.training.tasks.photographs import photographs_card

MAX_BYTES = 14_000_000  # of one file; those carried together: 35 million
UNKNOWN = "unknown"


def _load_amplitude_phase(trained: Path) -> nn.Module:
    from facerecon.systems.amplitude_phase.model import load_system

    return load_system(trained, load_face_model())[0].network


_LOADERS: dict[str, Callable[[Path], nn.Module]] = {
    "amplitude_phase": _load_amplitude_phase,
    "detector": load_detector,
    "landmarks": load_landmark_network,
    "parsing": load_parsing,
    "recognition": load_recognition,
}


def carry_weights(
    name: str, trained: Path, folder: Path | None = None, allow_dirty: bool = False, data: Sequence[Path] = ()
) -> Path:
    """Store the network `name`, read from the file that its training wrote, and return where.

    folder: None is the package's own. allow_dirty: take weights whose training cannot be traced to a commit, too.
    data: the photographs that it, or the weights that it began from, were trained on, if the card lacks who is in them.
    The card's `commit` is that of the training. Raises InputError if the file is not such weights, or larger than
    MAX_BYTES when stored, if its card says that the source was edited or unknown when it was trained, or if it was not
    trained on `data`.
    """
    network = _LOADERS[name](trained)
    card = stored.read_card(trained)
    if data:
        card = with_people(card, photographs_card(data), stored.card_path(trained))
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


def with_people(card: dict[str, Any], data: dict[str, Any], source: Path) -> dict[str, Any]:
    """The card with `data` (`photographs_card`) in place of what it says of the same photographs.

    Raises InputError, naming `source`, if the card says nothing of photographs with the same ground truth.
    """
    sha256 = data["ground_truth_sha256"]
    if sha256 not in {each.get("ground_truth_sha256") for each in training_data(card)}:
        raise InputError(
            f"{source}: trained on other photographs; give all of its shards, in the order of its training"
        )
    completed = dict(card)
    if card.get("data", {}).get("ground_truth_sha256") == sha256:
        completed["data"] = data
    if card.get("earlier_data"):
        earlier = card["earlier_data"]
        completed["earlier_data"] = [data if each.get("ground_truth_sha256") == sha256 else each for each in earlier]
    return completed


def training_commit(card: dict[str, Any]) -> str:
    """Commit of the source that trained the weights of a card, with `-dirty` if it was edited, or UNKNOWN."""
    return str((card.get("provenance") or {}).get("commit") or card.get("commit") or UNKNOWN)


def main() -> None:
    """Command line; exits with status 2 and one line on a bad file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(_LOADERS))
    parser.add_argument("trained", type=Path, help="model.safetensors that facerecon train NAME wrote")
    parser.add_argument("--allow-dirty", action="store_true", help="carry weights that no commit can be named for")
    parser.add_argument("--data", type=Path, action="append", default=[], help="shard that it was trained on")
    arguments = parser.parse_args()
    try:
        print(carry_weights(arguments.name, arguments.trained, allow_dirty=arguments.allow_dirty, data=arguments.data))
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
