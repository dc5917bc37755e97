"""Weights files and cards: round trip, precision, and what is refused."""

import json

import pytest
import torch

from facerecon.errors import InputError
from facerecon.networks import CARRIED
from facerecon.networks.weights import (
    CARRIED_NAMES,
    carried_weights,
    load_weights,
    read_card,
    save_weights,
    weights_file,
)

MODEL = "a" * 64


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "kernel": torch.randn(4, 3, 3, 3, generator=generator),
        "bias": torch.tensor([1e-9, 1e6]),
        "count": torch.tensor(7),
    }


def test_round_trip_in_float32_is_exact(tmp_path, state):
    save_weights(tmp_path / "net.safetensors", state, {"name": "net"}, half=False)
    loaded, card = load_weights(tmp_path / "net.safetensors")
    assert card["name"] == "net" and card["schema_version"] == 1
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) and loaded[name].dtype == state[name].dtype for name in state)


def test_half_precision_keeps_vectors_exact_and_rounds_kernels(tmp_path, state):
    save_weights(tmp_path / "net.safetensors", state, {})
    loaded, _ = load_weights(tmp_path / "net.safetensors")
    assert torch.equal(loaded["bias"], state["bias"])
    assert torch.equal(loaded["kernel"], state["kernel"].half().float())
    assert loaded["kernel"].dtype == torch.float32


def test_equal_weights_give_equal_files(tmp_path, state):
    save_weights(tmp_path / "a.safetensors", state, {"name": "net"})
    save_weights(tmp_path / "b.safetensors", dict(reversed(state.items())), {"name": "net"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_channels_last_weights_keep_their_values(tmp_path, state):
    channels_last = state["kernel"].to(memory_format=torch.channels_last)
    save_weights(tmp_path / "net.safetensors", {"kernel": channels_last}, {}, half=False)
    assert torch.equal(load_weights(tmp_path / "net.safetensors")[0]["kernel"], state["kernel"])


def test_another_face_models_weights_are_refused(tmp_path, state):
    path = tmp_path / "net.safetensors"
    save_weights(path, state, {"face_model_sha256": MODEL})
    load_weights(path, face_model_sha256=MODEL)
    load_weights(path)
    with pytest.raises(InputError, match="trained for face model aaaaaaaaaaaa, but face model bbbbbbbbbbbb is in use"):
        load_weights(path, face_model_sha256="b" * 64)
    save_weights(path, state, {})
    with pytest.raises(InputError, match="trained for no face model, but"):
        load_weights(path, face_model_sha256=MODEL)


def test_missing_and_damaged_files_are_named(tmp_path, state):
    path = tmp_path / "net.safetensors"
    with pytest.raises(InputError, match="no such weights file"):
        load_weights(path)
    save_weights(path, state, {})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"does not match its card net\.json"):
        load_weights(path)
    (tmp_path / "net.json").write_text("{")
    with pytest.raises(InputError, match="not a JSON card"):
        read_card(path)
    (tmp_path / "net.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(InputError, match="schema version 99"):
        read_card(path)
    (tmp_path / "net.json").unlink()
    with pytest.raises(InputError, match="card of net.safetensors is missing"):
        load_weights(path)


def test_values_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ValueError, match="weights kernel hold values that are not finite"):
        save_weights(tmp_path / "net.safetensors", {"kernel": torch.full((2, 2), 1e6)}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_suffix_is_refused(tmp_path, state):
    with pytest.raises(ValueError, match="safetensors"):
        save_weights(tmp_path / "net.pt", state, {})


def test_carried_weights_are_found_by_name():
    with pytest.raises(InputError, match="choose from detector"):
        carried_weights("detectr")
    for name in CARRIED_NAMES:
        try:
            path = carried_weights(name)
        except InputError as error:
            assert "missing" in str(error)
        else:
            load_weights(path)


def test_an_option_means_a_file_or_the_carried_weights(tmp_path):
    file = tmp_path / "w.safetensors"
    file.touch()
    assert weights_file("detector", str(file)) == file
    assert weights_file("detector", CARRIED) == weights_file("detector") == carried_weights("detector")
    with pytest.raises(InputError, match=r"none\.safetensors: no such weights file; name one, or `carried`"):
        weights_file("detector", tmp_path / "none.safetensors")
