import sys

import pytest
import torch

from facerecon.errors import InputError
from facerecon.networks.recognition import EMBEDDING, RecognitionNetwork, load_recognition
from facerecon.networks.weights import carried_weights, read_card, save_weights
from facerecon.training.tasks import carry
from facerecon.training.tasks.photographs import photographs_card


def test_carry_leaves_out_what_served_training_only(tmp_path):
    torch.manual_seed(0)
    network = RecognitionNetwork(width=8)
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    trained = tmp_path / "model.safetensors"
    provenance = {"commit": "0" * 40}
    card = {"name": "recognition", "network": {"width": 8}, "measured": {"accuracy": 0.9}, "provenance": provenance}
    save_weights(trained, state | {"centres": torch.zeros(9, EMBEDDING)}, card)
    path = carry.carry_weights("recognition", trained, tmp_path / "assets")
    assert path.name == "recognition.safetensors" and path.stat().st_size < trained.stat().st_size
    carried = read_card(path)
    assert carried["measured"] == {"accuracy": 0.9} and carried["commit"] == "0" * 40
    images = torch.rand(2, 3, 112, 112)
    torch.testing.assert_close(load_recognition(path).embed(images), load_recognition(trained).embed(images))


def test_carry_refuses_large_and_wrong_files(tmp_path, monkeypatch):
    trained = tmp_path / "model.safetensors"
    card = {"name": "recognition", "network": {"width": 8}, "provenance": {"commit": "0" * 40}}
    save_weights(trained, RecognitionNetwork(width=8).state_dict(), card)
    with pytest.raises(InputError, match="of 'recognition'"):
        carry.carry_weights("landmarks", trained, tmp_path)
    monkeypatch.setattr(carry, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="narrower"):
        carry.carry_weights("recognition", trained, tmp_path / "assets")
    assert not (tmp_path / "assets").exists()


@pytest.mark.parametrize("provenance", [{"commit": f"{'0' * 40}-dirty"}, {"commit": "unknown"}, {}, None])
def test_weights_of_no_commit_are_carried_only_on_demand(tmp_path, monkeypatch, capsys, provenance):
    trained, assets = tmp_path / "model.safetensors", tmp_path / "assets"
    card = {"name": "recognition", "network": {"width": 8}, "provenance": provenance}
    save_weights(trained, RecognitionNetwork(width=8).state_dict(), card)
    monkeypatch.setattr(carry.stored, "__file__", str(tmp_path / "weights.py"))
    monkeypatch.setattr(sys, "argv", ["carry", "recognition", str(trained)])
    with pytest.raises(SystemExit, match="2"):
        carry.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "model.json") in line and "--allow-dirty" in line and not assets.exists()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--allow-dirty"])
    carry.main()
    assert read_card(assets / "recognition.safetensors")["commit"] == ((provenance or {}).get("commit") or "unknown")


def test_cards_of_an_earlier_version_are_completed(toy_folder, tmp_path, write_toy):
    own = photographs_card([toy_folder])
    old = {name: own[name] for name in ("photographs", "subjects", "ground_truth_sha256")}
    trained = tmp_path / "model.safetensors"
    card = {"name": "recognition", "network": {"width": 8}, "provenance": {"commit": "0" * 40}}
    card |= {"data": old, "earlier_data": [{"photographs": 1}, old]}
    save_weights(trained, RecognitionNetwork(width=8).state_dict(), card)
    written = read_card(carry.carry_weights("recognition", trained, tmp_path / "assets", data=[toy_folder]))
    assert written["data"] == own and written["earlier_data"] == [{"photographs": 1}, own]
    with pytest.raises(InputError, match=r"model\.json: trained on other photographs"):
        other = write_toy(tmp_path / "other", subjects=2, photos=1, seed=4)
        carry.carry_weights("recognition", trained, tmp_path / "assets", data=[toy_folder, other])


def test_the_reconstruction_system_is_carried_too(tmp_path):
    path = carry.carry_weights("amplitude_phase", carried_weights("amplitude_phase"), tmp_path, allow_dirty=True)
    carried, own = read_card(path), read_card(carried_weights("amplitude_phase"))
    assert carried["face_model_sha256"] == own["face_model_sha256"] and carried["settings"] == own["settings"]
    assert carried["weights_sha256"] == own["weights_sha256"]
