"""Settings files and dispatch of `facerecon train`."""

from types import SimpleNamespace

import pytest

from facerecon.errors import InputError
from facerecon.systems.registry import SYSTEMS
from facerecon.training import run as run_module
from facerecon.training.run import AUXILIARY_NETWORKS, read_settings, run_training
from facerecon.training.settings import TrainingSettings
from facerecon.training.tasks.settings import TRAINING


def test_settings_files_and_dicts_agree(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("training:\n  steps: 5\ntask:\n  fit_steps: 2\n")
    sections = {"training": {"steps": 5}, "task": {"fit_steps": 2}}
    assert read_settings(path) == read_settings(sections) == sections
    path.write_text("")
    assert read_settings(path) == {"training": {}, "task": {}}


@pytest.mark.parametrize(
    "text, message",
    [
        ("trainin:\n  steps: 5\n", "unknown section 'trainin'; did you mean 'training'?"),
        ("- 1\n", "must be a mapping with sections training and task"),
        ("training: 3\n", "section training must be a mapping"),
        ("training: {", "not valid YAML"),
    ],
)
def test_malformed_files_are_named(tmp_path, text, message):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_settings(path)
    assert str(path) in str(error.value) and message in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such settings file"):
        read_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "training, message",
    [
        ({"stepz": 5}, "stepz: Extra inputs are not permitted"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1"),
        ({"steps": 5, "warmup_steps": 5}, "warmup_steps \\(5\\) must be fewer than steps \\(5\\)"),
        ({"learning_rate": "fast"}, "learning_rate: Input should be a valid number"),
    ],
)
def test_bad_training_settings_are_named(tmp_path, training, message):
    with pytest.raises(InputError, match=f"training settings of amplitude_phase: .*{message}"):
        run_training("amplitude_phase", {"training": training}, [tmp_path], tmp_path / "out")


def test_bad_task_settings_are_named(tmp_path):
    with pytest.raises(
        InputError, match=r"task settings of amplitude_phase: weights\.photometric: .*greater than or equal"
    ):
        run_training("amplitude_phase", {"task": {"weights": {"photometric": -1}}}, [tmp_path], tmp_path / "out")


def test_unknown_names_and_missing_data(tmp_path):
    with pytest.raises(InputError, match="did you mean 'amplitude_phase'"):
        run_training("amplitude_fase", {}, [tmp_path], tmp_path / "out")
    with pytest.raises(InputError, match=r"none\.h5: training amplitude_phase needs existing files"):
        run_training("amplitude_phase", {}, [tmp_path / "none.h5"], tmp_path / "out")
    with pytest.raises(InputError, match="no data: training"):
        run_training("amplitude_phase", {}, [], tmp_path / "out")


def test_overrides_take_precedence_and_none_does_not(tmp_path):
    with pytest.raises(InputError, match="steps: .*given: -1"):
        run_training("amplitude_phase", {"training": {"steps": 5}}, [tmp_path], tmp_path / "out", steps=-1)
    with pytest.raises(InputError, match=r"holds no shard"):
        run_training("amplitude_phase", {"training": {"steps": 5}}, [tmp_path], tmp_path / "out", steps=None)


def test_a_network_is_trained_as_the_carried_one_was_unless_told_otherwise(tmp_path, monkeypatch):
    told = []
    module = SimpleNamespace(make_task=lambda settings, data, seed, batch_size, **own: batch_size)
    monkeypatch.setattr(run_module, "_task_module", lambda name: module)
    monkeypatch.setattr(run_module, "train", lambda task, training, *more: told.append((task, training)))
    settings = {"training": {"learning_rate": 0.5, "steps": 600}}
    run_training("landmarks", settings, [tmp_path], tmp_path / "out", steps=50)
    (batch_size, training), usual = told.pop(), TRAINING["landmarks"]
    assert batch_size == training.batch_size == usual["batch_size"] and training.bf16
    assert (training.steps, training.warmup_steps, training.learning_rate) == (50, 5, 0.5)
    run_training("landmarks", {}, [tmp_path], tmp_path / "out")
    assert told.pop()[1] == TrainingSettings(**usual)
    run_training("amplitude_phase", {}, [tmp_path], tmp_path / "out")
    assert told.pop()[1] == TrainingSettings()


def test_every_trainable_thing_has_a_task_module():
    import importlib

    modules = [f"facerecon.systems.{name}.training" for name in SYSTEMS]
    modules += [f"facerecon.training.tasks.{name}" for name in AUXILIARY_NETWORKS]
    assert all(callable(importlib.import_module(module).make_task) for module in modules)


def test_every_setting_is_described():
    assert all(field.description for field in TrainingSettings.model_fields.values())
