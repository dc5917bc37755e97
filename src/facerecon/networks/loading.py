"""From a weights file to a network ready for inference."""

import os
from typing import Any, TypeVar

from torch import nn

from facerecon.errors import InputError
from facerecon.networks.weights import carried_weights, load_weights

Network = TypeVar("Network", bound=nn.Module)


def load_network(
    name: str, network_class: type[Network], weights: str | os.PathLike | None = None, prefix: str = ""
) -> tuple[Network, dict[str, Any]]:
    """Build `network_class` as its card says, with the card; in evaluation mode, without gradients.

    weights: a safetensors file with its card; None takes the weights that the package carries under `name`.
    prefix: if the file holds names that start with it, the network is these and the rest served training only. The
    card's `network` entry holds the constructor's arguments.
    Raises InputError if a file is missing, damaged, or holds another network.
    """
    path = carried_weights(name) if weights is None else weights
    state, card = load_weights(path)
    if card.get("name") != name:
        raise InputError(f"{path}: weights of {card.get('name')!r}, not of {name!r}; give that network's file")
    if prefix and any(key.startswith(prefix) for key in state):
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
    try:
        network = network_class(**card["network"])
        network.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError, ValueError):
        raise InputError(f"{path}: weights that do not fit this version's {name} network; retrain it") from None
    return network.eval().requires_grad_(False), card
