import csv

import numpy as np
import pytest

from facerecon.errors import InputError
from facerecon.evaluate.geometric.now import (
    COLUMNS,
    CURVE_COLUMNS,
    ImageResult,
    NowEvaluation,
    Variant,
    evaluate_now,
    run,
)
from facerecon.evaluate.geometric.now_folder import NowImage
from facerecon.geometry.mesh_files import write_obj, write_ply

CHALLENGES = ["multiview_neutral", "multiview_expressions", "multiview_occlusions", "selfie"]
FIRST = "S1/multiview_neutral/IMG_1"


def read_table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def make_evaluation(*rows):
    """Results from (challenge, distances or None)."""
    results = [
        ImageResult(NowImage("S", challenge, f"{k}.jpg"), None, "missing")
        if distances is None
        else ImageResult(NowImage("S", challenge, f"{k}.jpg"), np.array(distances, np.float32))
        for k, (challenge, distances) in enumerate(rows)
    ]
    return NowEvaluation(Variant("official", True), results)


def test_figures_by_hand():
    """All distances in one list: not means of means; population std."""
    evaluation = make_evaluation(("selfie", [1, 2, 3]), ("selfie", [10]), ("multiview_neutral", [4]), ("selfie", None))
    everything = evaluation.summary()
    assert everything[:2] == (3.0, 4.0)
    assert everything.std_mm == pytest.approx(np.sqrt((9 + 4 + 1 + 36 + 0) / 5))
    assert everything[3:] == (3, 1, 5)
    assert evaluation.summary("selfie")[:2] == (2.5, 4.0)
    assert evaluation.summary("selfie")[3:] == (2, 1, 4)
    assert evaluation.challenges == ["all", "multiview_neutral", "selfie"]


def test_rows_without_any_distance_are_empty():
    row = make_evaluation(("selfie", None), ("multiview_neutral", [4])).rows("mine")[2]
    assert row == dict.fromkeys(("median_mm", "mean_mm", "std_mm"), "") | {
        "system": "mine",
        "variant": "metrical",
        "protocol": "official",
        "challenge": "selfie",
        "scans": "0",
        "failed": "1",
        "vertices": "0",
    }


def test_cumulative_curve_by_hand():
    evaluation = make_evaluation(("selfie", [1, 2, 3]), ("multiview_neutral", [10]))
    np.testing.assert_allclose(evaluation.cumulative_curve("all", [0.5, 1, 2.5, 10]), [0, 0.25, 0.5, 1])
    np.testing.assert_allclose(evaluation.cumulative_curve("selfie", [2]), [2 / 3])


def test_run_writes_the_table(toy_folders, tmp_path, capsys):
    out, curves = tmp_path / "out" / "toy.csv", tmp_path / "out" / "curves.csv"
    evaluations = run(*toy_folders, "toy", out, curves_csv=curves)
    rows = read_table(out)
    assert list(rows[0]) == list(COLUMNS)
    assert [row["challenge"] for row in rows] == ["all", *CHALLENGES] * 4
    assert [(row["protocol"], row["variant"]) for row in rows[::5]] == [
        ("official", "non-metrical"),
        ("official", "metrical"),
        ("corrected", "non-metrical"),
        ("corrected", "metrical"),
    ]
    assert {(row["system"], row["scans"], row["failed"]) for row in rows} == {("toy", "4", "0"), ("toy", "1", "0")}
    for evaluation, row in zip(evaluations, rows[::5], strict=True):
        assert float(row["median_mm"]) == pytest.approx(evaluation.summary().median_mm, abs=1e-6)
        assert 0.3 < float(row["median_mm"]) < 3
    # S2 is 10 % larger: a metrical prediction of S1's size is worse there.
    metrical = {row["challenge"]: float(row["mean_mm"]) for row in rows[5:10]}
    assert metrical["selfie"] > metrical["multiview_neutral"] * 1.2
    curve = read_table(curves)
    assert list(curve[0]) == list(CURVE_COLUMNS)
    assert len(curve) == 4 * 5 * 141
    assert float(curve[140]["fraction"]) == 1.0
    assert sorted(path.name for path in out.parent.iterdir()) == ["curves.csv", "toy.csv", "toy.provenance.json"]
    assert "4/4 images" in capsys.readouterr().err


def test_jobs_do_not_change_the_result(toy_folders):
    one, two = (evaluate_now(*toy_folders, metrical=True, jobs=jobs) for jobs in (1, 2))
    assert [result.image for result in one.results] == [result.image for result in two.results]
    for a, b in zip(one.results, two.results, strict=True):
        np.testing.assert_array_equal(a.distances, b.distances)


def test_equal_predictions_of_a_subject_are_aligned_once(toy_folders, monkeypatch):
    from facerecon.evaluate.geometric import now

    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return scan_error(*arguments)

    scan_error = now.scan_error
    monkeypatch.setattr(now, "scan_error", counted)
    evaluation = evaluate_now(*toy_folders)
    assert len(calls) == 2  # two subjects, two images each
    assert evaluation.summary().scans == 4


def test_unit_and_formats(toy_folders, coarse_head, write_prediction):
    """The same prediction in metres as PLY with text landmarks: the same figures."""
    benchmark, predictions = toy_folders
    expected = evaluate_now(benchmark, predictions, metrical=True).summary("multiview_neutral")
    in_metres = predictions.parent / "metres"
    vertices, triangles, landmarks = coarse_head
    write_prediction(in_metres, FIRST + ".jpg", vertices / 1000, triangles, landmarks / 1000, ".ply", ".txt")
    found = evaluate_now(benchmark, in_metres, metrical=True, unit="m")
    assert found.summary("multiview_neutral").mean_mm == pytest.approx(expected.mean_mm, abs=1e-3)
    assert found.summary().failed == 3


def test_missing_predictions_are_counted(toy_folders, tmp_path):
    benchmark, predictions = toy_folders
    (predictions / f"{FIRST}.npy").unlink()
    (predictions / "S2/selfie/IMG_9.obj").unlink()
    out = tmp_path / "toy.csv"
    run(benchmark, predictions, "toy", out, protocol="corrected")
    rows = {row["challenge"]: row for row in read_table(out) if row["variant"] == "metrical"}
    assert {name: (row["scans"], row["failed"]) for name, row in rows.items()} == {
        "all": ("2", "2"),
        "multiview_neutral": ("0", "1"),
        "multiview_expressions": ("1", "0"),
        "multiview_occlusions": ("1", "0"),
        "selfie": ("0", "1"),
    }
    failures = read_table(tmp_path / "toy.failures.csv")
    assert [row["image"] for row in failures] == [f"{FIRST}.jpg", "S2/selfie/IMG_9.jpg"]
    assert "landmark file is missing" in failures[0]["reason"]
    assert "mesh is missing" in failures[1]["reason"]


def test_strict_refuses_and_writes_nothing(toy_folders, tmp_path):
    benchmark, predictions = toy_folders
    (predictions / f"{FIRST}.npy").unlink()
    with pytest.raises(InputError, match="1 of 4 predictions failed"):
        run(benchmark, predictions, "toy", tmp_path / "out" / "toy.csv", protocol="official", strict=True)
    assert not (tmp_path / "out").exists()


def test_a_repaired_run_removes_the_old_failures(toy_folders, tmp_path):
    benchmark, predictions = toy_folders
    landmarks = (predictions / f"{FIRST}.npy").read_bytes()
    (predictions / f"{FIRST}.npy").unlink()
    run(benchmark, predictions, "toy", tmp_path / "toy.csv", protocol="official")
    assert (tmp_path / "toy.failures.csv").exists()
    (predictions / f"{FIRST}.npy").write_bytes(landmarks)
    run(benchmark, predictions, "toy", tmp_path / "toy.csv", protocol="official")
    assert not (tmp_path / "toy.failures.csv").exists()


def test_no_prediction_at_all_is_refused(toy_folders, tmp_path):
    benchmark, _ = toy_folders
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="none of the predictions"):
        run(benchmark, tmp_path / "empty", "toy", tmp_path / "toy.csv", protocol="official")
    with pytest.raises(InputError, match="does not exist"):
        run(benchmark, tmp_path / "nowhere", "toy", tmp_path / "toy.csv")
    with pytest.raises(InputError, match="does not exist"):
        run(tmp_path / "nowhere", tmp_path / "empty", "toy", tmp_path / "toy.csv")
    with pytest.raises(InputError, match="unit 'inch'"):
        evaluate_now(benchmark, tmp_path / "empty", unit="inch")
    with pytest.raises(InputError, match="protocol 'best'"):
        run(benchmark, tmp_path / "empty", "toy", tmp_path / "toy.csv", protocol="best")


def nan_vertex(mesh, landmarks, head):
    vertices = head.vertices.copy()
    vertices[5, 1] = np.nan
    write_obj(mesh, vertices, head.triangles)


def degenerate_face(mesh, landmarks, head):
    triangles = head.triangles.copy()
    triangles[3] = [7, 7, 8]
    write_obj(mesh, head.vertices, triangles)


def empty_mesh(mesh, landmarks, head):
    mesh.write_bytes(b"")


def truncated_obj(mesh, landmarks, head):
    mesh.write_bytes(mesh.read_bytes()[:2000])


def truncated_face(mesh, landmarks, head):
    mesh.write_bytes(mesh.read_bytes().rstrip().rpartition(b" ")[0])


def truncated_ply(mesh, landmarks, head):
    mesh.unlink()
    mesh = mesh.with_suffix(".ply")
    write_ply(mesh, head.vertices, head.triangles)
    mesh.write_bytes(mesh.read_bytes()[:-100])


def not_a_mesh(mesh, landmarks, head):
    mesh.write_text("<html>404 not found</html>")


def six_landmarks(mesh, landmarks, head):
    np.save(landmarks, head.landmarks[:6])


def nan_landmark(mesh, landmarks, head):
    np.save(landmarks, np.full((7, 3), np.nan))


def text_as_npy(mesh, landmarks, head):
    landmarks.write_text("not an array")


def object_array(mesh, landmarks, head):
    np.save(landmarks, np.array([{}, 1], dtype=object), allow_pickle=True)


def ragged_text(mesh, landmarks, head):
    landmarks.unlink()
    landmarks.with_suffix(".txt").write_text("1 2 3\n4 5\n")


def coinciding_landmarks(mesh, landmarks, head):
    np.save(landmarks, np.ones((7, 3)))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (nan_vertex, "1 of 1023 vertices are NaN"),
        (degenerate_face, "1 of 1920 faces are degenerate"),
        (empty_mesh, "the file is empty"),
        (truncated_obj, "no faces; is it cut short"),
        (truncated_face, "fewer than three corners"),
        (truncated_ply, "ends before its header says"),
        (not_a_mesh, "no vertices"),
        (six_landmarks, r"7 landmarks of x, y, z are needed, it has shape \(6, 3\)"),
        (nan_landmark, "landmarks are NaN"),
        (text_as_npy, "not 7 landmarks"),
        (object_array, "not 7 landmarks"),
        (ragged_text, "not 7 landmarks"),
        (coinciding_landmarks, "coincide"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_malformed_predictions_are_failures_with_a_reason(toy_folders, coarse_head, spoil, reason):
    benchmark, predictions = toy_folders
    spoil(predictions / f"{FIRST}.obj", predictions / f"{FIRST}.npy", coarse_head)
    evaluation = evaluate_now(benchmark, predictions, "corrected")
    assert [str(failure.image) for failure in evaluation.failures] == [f"{FIRST}.jpg"]
    assert "\n" not in evaluation.failures[0].reason
    assert str(predictions / FIRST) in evaluation.failures[0].reason
    with pytest.raises(InputError, match=reason):
        raise InputError(evaluation.failures[0].reason)


def test_malformed_benchmarks_are_refused(toy_folders):
    benchmark, predictions = toy_folders
    points = benchmark / "scans_lmks_onlypp/S2/scan_picked_points.pp"
    text = points.read_text()
    points.write_text("\n".join(line for line in text.splitlines() if 'name="6"' not in line))
    with pytest.raises(InputError, match="6 picked points"):
        evaluate_now(benchmark, predictions)
    points.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="not a MeshLab"):
        evaluate_now(benchmark, predictions)
    points.unlink()
    with pytest.raises(InputError, match=r"one file of scan landmarks \(\*.pp\) is needed there, 0 found"):
        evaluate_now(benchmark, predictions)
    (benchmark / "imagepathsvalidation.txt").write_text("S1/IMG_1.jpg\n")
    with pytest.raises(InputError, match="not subject/challenge/image"):
        evaluate_now(benchmark, predictions)
    (benchmark / "imagepathsvalidation.txt").write_text("\n")
    with pytest.raises(InputError, match="empty"):
        evaluate_now(benchmark, predictions)
    (benchmark / "imagepathsvalidation.txt").unlink()
    with pytest.raises(InputError, match="not a NoW benchmark folder"):
        evaluate_now(benchmark, predictions)


def test_image_list_of_the_test_set_and_a_given_one(toy_folders):
    """Lines may carry leading folders; a subset may be given."""
    benchmark, predictions = toy_folders
    (benchmark / "imagepathsvalidation.txt").rename(benchmark / "imagepathstest.txt")
    assert evaluate_now(benchmark, predictions).summary().scans == 4
    subset = benchmark / "subset.txt"
    subset.write_text("some/folder/S2/selfie/IMG_9.jpg\n")
    evaluation = evaluate_now(benchmark, predictions, image_list=subset)
    assert [str(result.image) for result in evaluation.results] == ["S2/selfie/IMG_9.jpg"]
