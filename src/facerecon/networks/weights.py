"""Network weights on disk: one safetensors file and one JSON card that says what it is.

`NAME.safetensors` holds the state dict, `NAME.json` (the card) what trained it and what it measured. Keys of a card:
`schema_version`, `weights_sha256` (of the safetensors file; written here), `face_model_sha256` for a network whose
outputs are coefficients of a face model, and whatever its training adds (name, settings, data, measured accuracy).
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from facerecon.artefacts import atomic_file, sha256_file
from facerecon.errors import InputError
from facerecon.networks import CARRIED

SCHEMA_VERSION = 1
CARRIED_NAMES = ("detector", "landmarks", "parsing", "recognition", "amplitude_phase")

_ASSETS = Path(__file__).parent / "assets"


def carried_weights(name: str) -> Path:
    """Path of the weights that the package carries for `name` (one of CARRIED_NAMES).

    Raises InputError for another name or if the file is missing from the installation.
    """
    if name not in CARRIED_NAMES:
        raise InputError(f"no carried weights are named {name!r}; choose from {', '.join(CARRIED_NAMES)}")
    path = _ASSETS / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(f"{path}: the carried weights are missing; train them (facerecon train {name}) or reinstall")
    return path


def weights_file(name: str, given: str | os.PathLike | None = None) -> Path:
    """The file that a weights option means: the path given, or for None or "carried" the weights carried as `name`.

    Raises InputError if the file is missing.
    """
    if given is None or given == CARRIED:
        return carried_weights(name)
    path = Path(given)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; name one, or `{CARRIED}`")
    return path


def card_path(path: str | os.PathLike) -> Path:
    """The card that belongs to a weights file: the same name with `.json`."""
    return Path(path).with_suffix(".json")


def save_weights(
    path: str | os.PathLike, state_dict: dict[str, Tensor], card: dict[str, Any], half: bool = True
) -> None:
    """Write a state dict as safetensors and its card as JSON beside it, each atomically, the card last.

    path: ends in `.safetensors`. half: store floating tensors of two or more dimensions as float16; vectors (biases,
    normalisation statistics, whose range float16 may not hold) stay float32. Raises ValueError if a value is not
    finite or does not fit.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are saved as .safetensors, not {path.name}")
    tensors = {name: _stored(name, tensor, half) for name, tensor in state_dict.items()}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary)
    card = {**card, "schema_version": SCHEMA_VERSION, "weights_sha256": sha256_file(path)}
    with atomic_file(card_path(path)) as temporary:
        temporary.write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_card(path: str | os.PathLike) -> dict[str, Any]:
    """The card of a weights file. Raises InputError if it is missing or not a card of this version."""
    card_file = card_path(path)
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{card_file}: the card of {Path(path).name} is missing; keep both files together") from None
    except ValueError:
        raise InputError(f"{card_file}: not a JSON card; copy it again from where the weights came from") from None
    version = card.get("schema_version") if isinstance(card, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(f"{card_file}: schema version {version}, {SCHEMA_VERSION} is readable; retrain or update")
    return card


def load_weights(
    path: str | os.PathLike, face_model_sha256: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and their card; floating tensors come back as float32 on the CPU.

    face_model_sha256: the face model in use; weights made for another one (or for none) are refused. None skips the
    check, for networks that know no face model.
    Raises InputError if a file is missing, damaged, not the one the card describes, or for another face model.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; give a .safetensors file that facerecon train wrote")
    card = read_card(path)
    if card.get("weights_sha256") != sha256_file(path):
        raise InputError(f"{path}: does not match its card {card_path(path).name}; copy both files again")
    if face_model_sha256 is not None and card.get("face_model_sha256") != face_model_sha256:
        own = card.get("face_model_sha256")
        made_for = f"face model {own[:12]}" if own else "no face model"
        raise InputError(
            f"{path}: trained for {made_for}, but face model {face_model_sha256[:12]} is in use; "
            "retrain it or select the face model it was trained for"
        )
    try:
        state = load_file(path)
    except SafetensorError:
        raise InputError(f"{path}: not a safetensors file; copy it again") from None
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}, card


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu().contiguous().clone()
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.half() if half and tensor.ndim >= 2 else tensor.float()
    if not torch.isfinite(tensor).all():
        raise ValueError(f"weights {name} hold values that are not finite (or too large for float16)")
    return tensor
