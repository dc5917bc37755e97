import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from facerecon.errors import InputError
from facerecon.settings import (
    PhotographSets,
    PhotographSettings,
    Settings,
    nearest_setting,
    parse_settings,
    setting_names,
)
from facerecon.settings_documents import documents

REPOSITORY = Path(__file__).parents[1]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("name", documents())
def test_generated_documents_are_up_to_date(name: str) -> None:
    assert (REPOSITORY / name).read_text(encoding="utf-8") == documents()[name], "run `make settings`"


def test_default_config_is_the_defaults() -> None:
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    assert parse_settings(config) == Settings() == parse_settings({})
    written = {name for name in setting_names() if _value(config, name) is not _ABSENT}
    assert written == set(setting_names())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_open_with_their_reason_and_only_override(recipe: Path) -> None:
    text = recipe.read_text()
    assert text.startswith("# Why: ")
    assert parse_settings(yaml.safe_load(text)) != Settings()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"preproces": {}}, "config: unknown key 'preproces'; did you mean 'preprocess'?"),
        (
            {"preprocess": {"shard_sise": 3}},
            "unknown key 'preprocess.shard_sise'; did you mean 'preprocess.shard_size'?",
        ),
        ({"shard_size": 3}, "unknown key 'shard_size'; did you mean 'preprocess.shard_size'?"),
        ({"train": {"amplitude_phase": {"steps": 3}}}, "did you mean 'train.amplitude_phase.training.steps'?"),
        (
            {"train": {"detector": {"training": {"max_seconds_per_call": 60}}}},
            "unknown key 'train.detector.training.max_seconds_per_call'",
        ),
        ({"a": 1, "b": 2}, "(and 1 more)"),
        (
            {"preprocess": {"shard_size": 0}},
            "preprocess.shard_size: Input should be greater than or equal to 1 (given: 0)",
        ),
        ({"preprocess": None}, "preprocess: "),
        ({1: 2}, "1: Keys should be strings"),
        ({"renderer": "gpu"}, "renderer: Input should be 'auto', 'cpu', 'triton' or 'pytorch3d' (given: 'gpu')"),
        ({"training_datasets": ["mine"]}, "training_datasets: 'mine' is not among datasets (none)"),
        ({"training_datasets": ["synthetic", "synthetic"]}, "names a dataset twice"),
        ({"datasets": {"synthetic": {"adapter": "folder", "folders": ["x"]}}}, "the run's own"),
        ({"datasets": {"a/b": {"adapter": "folder", "folders": ["x"]}}}, "datasets.a/b"),
        ({"evaluation": {"systems": ["oracle", "oracle"]}}, "names a system twice"),
        ({"photographs": {"networks": {"first_subject": 500_149}}}, "reconstruction and networks overlap"),
        ({"photographs": {"held_out": {"first_subject": 1_003_999}}}, "networks and held_out overlap"),
        ({"photographs": {"reconstruction": {"first_subject": 800_000, "subjects": 200_000}}}, "and held_out overlap"),
    ],
)
def test_wrong_configurations_give_one_line(config: dict, said: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_settings(config)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.sampled_from(list(setting_names())), st.integers(0, 50), st.sampled_from("abcdefghij_"))
def test_one_wrong_letter_is_traced_back(name: str, position: int, letter: str) -> None:
    parent, _, key = name.rpartition(".")
    if len(key) < 5:
        return
    position %= len(key)
    wrong = key[:position] + letter + key[position + 1 :]
    path = f"{parent}.{wrong}" if parent else wrong
    if path not in set(setting_names()):
        found = nearest_setting(path)
        assert found == name or found.rpartition(".")[2] == wrong


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().preprocess.shard_size = 3


def test_photograph_folders_cover_all_subjects() -> None:
    chosen = PhotographSettings(subjects=7, photos_per_subject=3, subjects_per_folder=3)
    assert chosen.folders == 3
    assert [chosen.subjects_in(folder) for folder in range(3)] == [3, 3, 1]
    assert chosen.photographs == 21


def test_sets_of_other_seeds_may_share_numbers() -> None:
    sets = PhotographSets(networks=PhotographSettings(seed=2))
    assert sets.networks.first_subject == sets.reconstruction.first_subject


def test_import_without_torch() -> None:
    names = ("torch", "numpy", "cv2")
    code = f"import sys, facerecon.settings, facerecon.run_plan; print([name in sys.modules for name in {names}])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[False, False, False]"


_ABSENT = object()


def _value(config: object, name: str) -> object:
    """Value of a dotted setting in a plain configuration."""
    for part in name.split("."):
        if not isinstance(config, dict) or part not in config:
            return _ABSENT
        config = config[part]
    return config
