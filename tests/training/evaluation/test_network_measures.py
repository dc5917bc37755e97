import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from facerecon.data.parsing_labels import PARSING_CLASSES
from facerecon.errors import InputError
from facerecon.evaluate.statistics import Figure, figures_of
from facerecon.networks.detector import REFERENCE_SIZE, STRIDE, Detection, DetectorNetwork
from facerecon.networks.image_crops import points_box
from facerecon.networks.landmarks import LandmarkNetwork
from facerecon.networks.parsing import CLASS_COUNT, ParsingNetwork
from facerecon.networks.recognition import RecognitionNetwork
from facerecon.networks.weights import save_weights
from facerecon.provenance import read_provenance
from facerecon.training.evaluation import run as run_module
from facerecon.training.evaluation.detector import measured_scenes, photograph_measures, scene_measures
from facerecon.training.evaluation.landmarks import LandmarkResults, landmark_measures, reliability
from facerecon.training.evaluation.parsing import confusion_matrices, parsing_measures
from facerecon.training.evaluation.recognition import recognition_measures
from facerecon.training.evaluation.run import COLUMNS, run, write_table


def overall(measures, name):
    return next(row for measure in measures if measure.name == name for row in figures_of(measure))


def test_landmark_errors_by_hand(store):
    indices = np.arange(6)
    truth = store.landmarks[indices].astype(np.float64)
    side = np.sqrt(np.ptp(truth, axis=1).prod(1))
    error = np.linspace(1, 3, 6 * 68).reshape(6, 68)
    points = truth + np.stack([error / 100 * side[:, None], 0 * error], -1)
    results = LandmarkResults(points, error, 2 * error, np.full(6, 0.5))
    measures = landmark_measures(store, indices, results)
    assert overall(measures, "nme_percent").value == pytest.approx(error.mean())
    store.landmarks_visible[0, :40] = False
    shown = store.landmarks_visible[indices]
    measured = overall(landmark_measures(store, indices, results), "nme_visible_percent").value
    store.landmarks_visible[0, :40] = True
    # the mean over photographs, in which the first counts no less for showing fewer points
    assert measured == pytest.approx(np.mean([error[row][shown[row]].mean() for row in range(6)]))
    assert measured != pytest.approx(error[shown].mean())


def test_reliability_tells_an_honest_network_from_one_that_guesses():
    rng = np.random.default_rng(0)
    expected = rng.uniform(1, 8, (50, 68))
    honest = LandmarkResults(
        np.zeros((50, 68, 2)), expected * rng.exponential(1, expected.shape), expected, np.ones(50)
    )
    rows = {(row.measure, row.part): row.value for row in reliability(honest)}
    assert rows["expected_error_spearman", "all"] > 0.4
    for part in ("1", "10"):
        assert rows["true_error_percent", part] == pytest.approx(rows["expected_error_percent", part], rel=0.15)
    guess = LandmarkResults(honest.points, honest.error, rng.permutation(expected.ravel()).reshape(50, 68), np.ones(50))
    assert abs(next(iter(reliability(guess))).value) < 0.1


class TrueClasses(ParsingNetwork):
    """Gives the classes that it was told, in turn."""

    def __init__(self, truth):
        super().__init__(size=64, width=4)
        self.truth = iter(truth)

    def probabilities(self, images):
        labels = torch.stack([torch.from_numpy(next(self.truth)).long() for _ in images])
        return torch.nn.functional.one_hot(labels.clamp(max=CLASS_COUNT - 1), CLASS_COUNT).permute(0, 3, 1, 2)


def test_parsing_of_a_network_that_knows_and_of_one_that_errs(store):
    from facerecon.training.tasks.crops import StandardCrops
    from facerecon.training.tasks.parsing import true_classes

    crops, indices = StandardCrops(store, 224), np.arange(0, 24, 3)
    truth = [true_classes(crops, index, crops.matrix(index)) for index in indices]
    perfect = confusion_matrices(store, indices, TrueClasses(truth))
    assert perfect.shape == (8, 19, 19)
    assert overall(parsing_measures(store, indices, perfect), "mean_iou").value == 1
    wrong = [np.where(labels == 10, 1, labels) for labels in truth]  # never tells a nose
    measures = parsing_measures(store, indices, confusion_matrices(store, indices, TrueClasses(wrong)))
    assert overall(measures, "iou_nose").value == 0 and overall(measures, "iou_mouth").value == 1
    classes = len(set(np.concatenate([labels.ravel() for labels in truth]).tolist()) - {255})
    mean = overall(measures, "mean_iou").value
    assert 1 - 2 / classes < mean < 1 - 1 / classes  # absent classes are left out
    assert "iou_hat" not in {measure.name for measure in measures}
    assert overall(measures, "classes").value == classes


def test_classes_of_a_group_are_the_same_in_every_resample(store):
    confusion = np.zeros((6, CLASS_COUNT, CLASS_COUNT), np.int64)
    confusion[:, 1, 1] = 10
    confusion[0, 14, 14] = 5  # one photograph alone shows a hat, and is told it
    store_of_six = SimpleNamespace(attributes={}, subjects=np.arange(6))
    measures = parsing_measures(store_of_six, np.arange(6), confusion)
    mean = overall(measures, "mean_iou")
    assert (mean.value, mean.low, mean.high) == (1, 1, 1)  # not 0 for the hat where the photograph is not drawn
    assert overall(measures, f"iou_{PARSING_CLASSES[14]}").low == 1
    assert overall(measures, "classes").value == 2


class BySkin(RecognitionNetwork):
    """Knows people by the colour of their skin, which a toy person has of its own."""

    def __init__(self):
        super().__init__(width=4)

    def forward(self, images):
        middle = images[:, :, 40:72, 40:72].flatten(2).median(2).values
        return torch.cat([torch.cos(20 * middle), torch.sin(20 * middle)], 1)


def test_recognition_by_skin(store, capsys):
    measures, rows = recognition_measures(store, BySkin())
    figures = {row.measure: row.value for row in rows}
    rank_1 = overall(measures, "rank_1")
    assert figures["identities"] >= 6 and rank_1.cases >= 8
    assert figures["identities_asked"] == 500
    assert f"among {figures['identities']:.0f} people, 500 were asked for" in capsys.readouterr().err
    recognition_measures(store, BySkin(), identities=3)
    assert not capsys.readouterr().err
    assert rank_1.value > 3 / figures["identities"] and figures["auc"] > 0.7
    with pytest.raises(InputError, match="two at least"):
        recognition_measures(store, BySkin(), identities=1)


class KnowsScenes(DetectorNetwork):
    """Finds faces where it was told, in turn; one more, false, of score 0.6 in the first scene."""

    def __init__(self, scenes):
        super().__init__(width=4, score_threshold=0.5)
        self.scenes = iter(enumerate(scenes))

    def forward(self, images):
        cells = images.shape[-1] // STRIDE
        logits = torch.full((len(images), cells, cells), -20.0)
        geometry = torch.zeros(len(images), cells, cells, 4)
        for image in range(len(images)):
            number, scene = next(self.scenes)
            for x0, y0, x1, y1 in scene.boxes:
                column, row = int((x0 + x1) / 2 / STRIDE), int((y0 + y1) / 2 / STRIDE)
                logits[image, row, column] = 3.0
                size = np.log(np.array([x1 - x0, y1 - y0]) / REFERENCE_SIZE)
                offset = [(x0 + x1) / 2 / STRIDE - column, (y0 + y1) / 2 / STRIDE - row]
                geometry[image, row, column] = torch.tensor([*size, *offset])
            if number == 0:
                logits[image, 0, 0] = float(np.log(0.6 / 0.4))
                geometry[image, 0, 0, :2] = -1
        return logits, geometry


def test_detector_in_scenes(store):
    scenes = measured_scenes(store, np.arange(len(store)))
    assert len(scenes) == len(store)
    assert all(
        (one.image == two.image).all() for one, two in zip(scenes, measured_scenes(store, np.arange(24)), strict=True)
    )
    measures, rows = scene_measures(store, scenes, KnowsScenes(scenes))
    figures = {row.measure: row.value for row in rows}
    # all but neighbours that count as one face are found, above the false one
    assert overall(measures, "recall_at_0.01_false_a_scene").value > 0.8
    assert figures["score_at_0.01_false_a_scene"] == pytest.approx(0.6, abs=1e-3)
    assert figures["false_a_scene_at_own_threshold"] == pytest.approx(1 / 24)
    assert "face_pixels" in measures[0].groups


def test_detector_in_whole_photographs(store, monkeypatch):
    from facerecon.training.evaluation import detector as module

    places = iter(np.repeat(np.arange(4), 2))

    def detect(image, network, score, verifier=None):
        box = points_box(store.landmarks[next(places)])
        return [Detection(box if score > 0.1 else box + 1000, 0.7)]

    monkeypatch.setattr(module, "detect_faces", detect)
    measures, rows = photograph_measures(store, np.arange(4), None, None)
    assert overall(measures, "found_in_photographs").value == 1 and rows[0].value == 0


def weights(folder, data_sha256="0" * 64, **more):
    torch.manual_seed(0)
    card = {"name": "landmarks", "network": {"size": 32, "width": 8, "hidden": 16}}
    card |= {"data": {"ground_truth_sha256": data_sha256}, **more}
    path = folder / "landmarks.safetensors"
    save_weights(path, LandmarkNetwork(**card["network"]).state_dict(), card)
    return path


def test_run_prints_and_writes_every_row(toy_folder, tmp_path, capsys):
    for suffix in (".csv", ".json"):
        out = tmp_path / f"table{suffix}"
        rows = run([toy_folder], ["landmarks"], {"landmarks": weights(tmp_path)}, out, limit=5)
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == len(rows) and "nme_percent" in printed[0] and "n=5" in printed[0]
        if suffix == ".csv":
            written = list(csv.DictReader(out.open()))
            assert tuple(written[0]) == COLUMNS
        else:
            written = json.loads(out.read_text())
        assert len(written) == len(rows) and float(written[0]["value"]) == pytest.approx(rows[0].value, rel=1e-5)
        record = read_provenance(tmp_path / "table.csv")  # beside either, by its stem
        assert record["stage"] == "evaluate.networks" and set(record["inputs"]) == {"landmarks_weights", "data"}
        (tmp_path / "table.provenance.json").unlink()


def test_run_refuses_what_it_was_trained_on_and_bad_names(toy_folder, store, tmp_path):
    seen = weights(tmp_path, store.sha256)
    with pytest.raises(InputError, match="was trained on these"):
        run([toy_folder], ["landmarks"], {"landmarks": seen})
    with pytest.raises(InputError, match="no network is called 'eyes'"):
        run([toy_folder], ["eyes"])
    with pytest.raises(InputError, match=r"\.csv or \.json"):
        run([toy_folder], ["landmarks"], out=tmp_path / "table.txt")


def test_anyone_met_in_training_is_refused(toy_folder, tmp_path, capsys):
    def measure(**card):
        run([toy_folder], ["landmarks"], {"landmarks": weights(tmp_path, **card)}, limit=2)
        return capsys.readouterr().err

    others = {"people": {"0": [[8, 90]], "1": [[0, 7]]}}
    assert "on whom" not in measure(data=others)
    assert "its card does not say on whom it was trained" in measure()
    assert "its card does not say" in measure(data=others, initial_weights_sha256="0" * 64)  # on whom those were
    with pytest.raises(InputError, match=r"some of these people \(seed 0, subject 7\)"):
        measure(data={"people": {"0": [[7, 90]]}})
    with pytest.raises(InputError, match=r"some of these people \(seed 0, subject 2\)"):
        measure(data=others, earlier_data=[others, {"people": {"0": [[100, 120], [2, 3]]}}])


def test_undefined_figures_are_written_empty(tmp_path):
    row = Figure("detector", "score", "all", "all", 3, 0.5, float("nan"), float("nan"))
    write_table(tmp_path / "a.csv", [row])
    write_table(tmp_path / "a.json", [row])
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == "detector,score,all,all,3,0.5,,"
    assert json.loads((tmp_path / "a.json").read_text())[0]["low"] is None


def test_detector_needs_the_landmark_network(monkeypatch, toy_folder, tmp_path):
    asked = []
    monkeypatch.setattr(run_module, "weights_file", lambda name, given: asked.append(name) or weights(tmp_path))
    monkeypatch.setitem(
        run_module._MEASURED, "detector", lambda *arguments: [Figure("detector", "x", "all", "all", 1, 1.0, 0, 0)]
    )
    run([toy_folder], ["detector"])
    assert sorted(asked) == ["detector", "landmarks"]
