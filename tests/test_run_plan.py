import json
from pathlib import Path

import pytest

from facerecon import run_plan
from facerecon.artefacts import sha256_file
from facerecon.data import adapters
from facerecon.errors import InputError
from facerecon.run_plan import RunPlan, carried, weights_id
from facerecon.settings import parse_settings


def plan(**settings) -> RunPlan:
    return RunPlan(parse_settings(settings))


def test_synthetic_folders_partition_the_subjects() -> None:
    chosen = {
        "subjects": 5,
        "subjects_per_folder": 2,
        "photos_per_subject": 3,
        "first_subject": 10,
        "size": 96,
        "seed": 7,
    }
    built = plan(photographs={"reconstruction": chosen}, preprocess={"shard_size": 4})
    assert built.folders("reconstruction") == [f"results/photographs/reconstruction/{k}" for k in range(3)]
    assert [built.synthesis_options("reconstruction", k) for k in (0, 2)] == [
        "--first-subject 10 --subjects 2 --photos-per-subject 3 --size 96 --seed 7",
        "--first-subject 14 --subjects 1 --photos-per-subject 3 --size 96 --seed 7",
    ]
    assert built.photographs("synthetic") == 15
    assert built.shards("synthetic") == [0, 1, 2, 3]
    assert built.shard_size("synthetic") == 4
    assert built.training_shards() == [f"results/datasets/synthetic/shards/{k}/shard.h5" for k in range(4)]
    assert built.listing("synthetic") == ""


def test_shards_are_of_like_size() -> None:
    built = plan(
        photographs={"reconstruction": {"subjects": 151, "photos_per_subject": 1}}, preprocess={"shard_size": 150}
    )
    assert (built.shards("synthetic"), built.shard_size("synthetic")) == ([0, 1], 76)


def test_own_photographs_are_counted_and_watched(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.jpg", "b.PNG", "deep/c.jpeg", "notes.txt"):
        (tmp_path / name).touch()
    settings = {"datasets": {"mine": {"adapter": "folder", "folders": [str(tmp_path)]}}, "training_datasets": ["mine"]}
    first = plan(**settings, preprocess={"shard_size": 2})
    assert first.photographs("mine") == 3
    assert first.shards("mine") == [0, 1]
    assert (first.dataset_adapter("mine"), first.dataset_folders("mine")) == ("folder", [str(tmp_path)])
    assert plan(**settings).listing("mine") == first.listing("mine")
    (tmp_path / "deep/c.jpeg").rename(tmp_path / "deep/d.jpeg")
    assert plan(**settings).listing("mine") != first.listing("mine")


def test_datasets_without_photographs_are_refused_if_used(tmp_path: Path) -> None:
    settings = {"datasets": {"mine": {"adapter": "folder", "folders": [str(tmp_path)]}}}
    plan(**settings)
    with pytest.raises(InputError, match=r"datasets\.mine: .*: holds no images for the folder adapter"):
        plan(**settings, training_datasets=["mine"])


def test_weights_come_from_the_package_or_from_this_run() -> None:
    assert plan().network_weights("parsing").endswith("networks/assets/parsing.safetensors")
    trained = plan(networks={"parsing": "train", "recognition": "train"})
    assert trained.network_weights("parsing") == "results/networks/parsing/model.safetensors"
    assert trained.training_weights("amplitude_phase") == ["results/networks/recognition/model.safetensors"]
    task = json.loads(trained.training_settings("amplitude_phase"))["task"]
    assert task["recognition"] == "results/networks/recognition/model.safetensors"
    assert json.loads(plan().training_settings("amplitude_phase"))["task"]["recognition"] is None
    assert plan().training_weights("amplitude_phase") == [carried("recognition")]
    assert plan().training_weights("detector") == []


def test_recognition_starts_from_the_landmark_network() -> None:
    assert plan().training_weights("recognition") == [carried("landmarks")]
    assert json.loads(plan().training_settings("recognition"))["task"]["initial_trunk"] == "carried"
    trained = plan(networks={"landmarks": "train"})
    assert trained.training_weights("recognition") == ["results/networks/landmarks/model.safetensors"]
    task = json.loads(trained.training_settings("recognition"))["task"]
    assert task["initial_trunk"] == "results/networks/landmarks/model.safetensors"
    for trunk, read in (("mine.safetensors", ["mine.safetensors"]), (None, [])):
        own = plan(networks={"landmarks": "train"}, train={"recognition": {"task": {"initial_trunk": trunk}}})
        assert own.training_weights("recognition") == read
        assert json.loads(own.training_settings("recognition"))["task"]["initial_trunk"] == trunk


def test_landmarks_start_from_and_are_taught_by_weights() -> None:
    assert plan().training_weights("landmarks") == []
    task = {"initial_weights": "carried", "teacher": "carried"}
    own = plan(networks={"landmarks": "train", "detector": "train"}, train={"landmarks": {"task": task}})
    assert own.training_weights("landmarks") == [carried("landmarks")]  # not what is to be trained
    task |= {"unlabelled": ["mine"], "initial_weights": "first.safetensors"}
    own = plan(networks={"landmarks": "train", "detector": "train"}, train={"landmarks": {"task": task}})
    detector = "results/networks/detector/model.safetensors"
    assert own.training_weights("landmarks") == ["first.safetensors", carried("landmarks"), detector]
    told = json.loads(own.training_settings("landmarks"))["task"]
    assert (told["teacher"], told["teacher_detector"]) == ("carried", detector)


def test_weights_that_the_user_names_are_read() -> None:
    task = {"recognition": "mine.safetensors", "initial_weights": "imagenet.pth"}
    built = plan(train={"amplitude_phase": {"task": task}})
    assert built.training_weights("amplitude_phase") == ["imagenet.pth", "mine.safetensors"]
    task = {"recognition": "mine.safetensors", "initial_weights": "carried"}
    built = plan(train={"amplitude_phase": {"task": task}}, networks={"recognition": "train"})
    trained = "results/networks/recognition/model.safetensors"
    assert built.training_weights("amplitude_phase") == [trained, "mine.safetensors"]
    told = json.loads(built.training_settings("amplitude_phase"))["task"]
    assert (told["initial_weights"], told["recognition"]) == (trained, "mine.safetensors")


def test_systems_of_the_tables() -> None:
    built = plan()
    assert built.system_weights("mean_face") == {}
    assert built.system_weights("amplitude_phase")["--weights"] == carried("amplitude_phase")
    weights = built.system_weights("amplitude_phase_trained")
    assert weights["--weights"] == "results/training/amplitude_phase/model.safetensors"
    assert weights["--detector"] == carried("detector")
    assert built.predictor("amplitude_phase_trained") == built.predictor("amplitude_phase") == "amplitude_phase"
    assert built.trains_systems()
    assert not plan(evaluation={"systems": ["oracle", "amplitude_phase"]}).trains_systems()


def test_settings_of_one_stage_alone() -> None:
    changed = plan(train={"amplitude_phase": {"training": {"steps": 7}}})
    assert changed.training_settings("detector") == plan().training_settings("detector")
    assert json.loads(changed.training_settings("amplitude_phase"))["training"]["steps"] == 7


def test_settings_that_change_no_result_are_told_apart() -> None:
    usual = plan(train={"amplitude_phase": {"training": {"steps": 9}}})
    changed = plan(train={"amplitude_phase": {"training": {"steps": 9, "checkpoint_seconds": 7, "prefetch": 0}}})
    assert changed.training_settings("amplitude_phase") == usual.training_settings("amplitude_phase")
    assert changed.free_training_options("amplitude_phase") == "--checkpoint-seconds 7.0 --prefetch 0"
    assert changed.free_training_options("detector") == plan().free_training_options("detector")


def test_gpus() -> None:
    built = plan(train={"detector": {"training": {"device": "cuda"}}})
    assert [built.training_gpus(name) for name in ("detector", "amplitude_phase")] == [1, 0]


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, name: str) -> list:
        raise PermissionError(13, "Permission denied", f"{folder}/locked")

    monkeypatch.setitem(adapters.ADAPTERS, "folder", refuse)
    settings = {"datasets": {"mine": {"adapter": "folder", "folders": [str(tmp_path)]}}, "training_datasets": ["mine"]}
    with pytest.raises(InputError, match=r"datasets\.mine: .*/locked: cannot be read \(Permission denied\)"):
        plan(**settings)


def test_the_renderer_reaches_what_renders() -> None:
    def renderer(**settings) -> str:
        return json.loads(plan(**settings).training_settings("amplitude_phase"))["task"]["renderer"]

    assert renderer() == "auto"
    assert renderer(renderer="pytorch3d") == "pytorch3d"
    assert renderer(renderer="pytorch3d", train={"amplitude_phase": {"task": {"renderer": "cpu"}}}) == "cpu"
    for network in ("detector", "landmarks", "parsing", "recognition"):
        assert plan(renderer="pytorch3d").training_settings(network) == plan().training_settings(network)


def test_ids_of_weights_follow_their_content(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"1")
    assert weights_id(str(file), "results/networks/x/model.safetensors") == f"a.safetensors:{sha256_file(file)[:20]}"
    assert weights_id(str(tmp_path / "none")) == ""


def test_carried_weights_are_named_relative_to_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = Path(run_plan.__file__).parent
    monkeypatch.chdir(package.parent)
    assert carried("parsing") == "facerecon/networks/assets/parsing.safetensors"
    monkeypatch.chdir(tmp_path)
    assert carried("parsing") == str(package / "networks/assets/parsing.safetensors")


def test_benchmark_options() -> None:
    assert plan().benchmark_options() == ""
    assert plan(now_benchmark={"subjects": 2}).benchmark_options() == "--subjects 2"


@pytest.fixture
def other_model(tmp_path: Path) -> str:
    (tmp_path / "flame.h5").write_bytes(b"another face model")
    return str(tmp_path / "flame.h5")


def test_another_face_model_goes_to_the_commands(other_model: str) -> None:
    assert (plan().face_model_files, plan().face_model_option()) == ([], "")
    chosen = plan(face_model=other_model)
    assert chosen.face_model_files == [other_model]
    assert chosen.face_model_option() == f"--face-model {other_model}"
    assert weights_id(*chosen.face_model_files) == f"flame.h5:{sha256_file(other_model)[:20]}"


def test_rows_of_the_table_follow_the_face_model(other_model: str, tmp_path: Path) -> None:
    assert plan().systems == ["mean_face", "oracle", "amplitude_phase", "amplitude_phase_trained"]
    assert plan(face_model=other_model).systems == ["mean_face", "oracle", "amplitude_phase_trained"]
    copy = tmp_path / "copy.h5"
    copy.write_bytes(run_plan.OPEN_MODEL.read_bytes())
    assert plan(face_model=str(copy)).systems == plan().systems
    assert plan(evaluation={"systems": ["oracle"]}).systems == ["oracle"]


def test_carried_systems_are_refused_with_another_face_model(other_model: str) -> None:
    with pytest.raises(
        InputError, match=r"weights carried for amplitude_phase belong to the open face model"
    ) as caught:
        plan(face_model=other_model, evaluation={"systems": ["oracle", "amplitude_phase"]})
    assert "\n" not in str(caught.value) and "amplitude_phase_trained" in str(caught.value)


def test_a_missing_face_model_is_named() -> None:
    with pytest.raises(InputError, match=r"face_model: nowhere\.h5: no such file; .*model convert"):
        plan(face_model="nowhere.h5")


def test_measuring_the_networks_takes_the_run_s_weights() -> None:
    chosen = plan(networks={"landmarks": "train"})
    assert chosen.sheet_weights() == {
        "--detector": carried("detector"),
        "--landmark-network": "results/networks/landmarks/model.safetensors",
        "--parsing": carried("parsing"),
    }
    assert chosen.all_network_weights() == chosen.sheet_weights() | {"--recognition": carried("recognition")}
    assert chosen.folders("held_out") == [f"results/photographs/held_out/{folder}" for folder in range(8)]


def test_real_photographs_are_the_user_s(tmp_path: Path) -> None:
    assert plan(evaluation={"portraits": str(tmp_path)}).real_photographs("portraits") == str(tmp_path)
    with pytest.raises(InputError, match=r"evaluation\.aflw2000 is empty; name the folder"):
        plan().real_photographs("aflw2000")
    with pytest.raises(InputError, match=r"evaluation\.aflw2000: nowhere: no such folder"):
        plan(evaluation={"aflw2000": "nowhere"}).real_photographs("aflw2000")
