"""The workflow refuses a wrong configuration in one line, before it builds the graph."""

import pytest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("preproces: {shard_size: 3}", "unknown key 'preproces'; did you mean 'preprocess'?"),
        (
            "train: {amplitude_phase: {task: {weights: {frequncy: 1}}}}",
            "did you mean 'train.amplitude_phase.task.weights.frequency'?",
        ),
        (
            "datasets: {mine: {adapter: folder, folders: [nowhere]}}\ntraining_datasets: [mine]",
            "nowhere: no such folder",
        ),
    ],
)
def test_one_line_and_status_2(finished, text: str, said: str) -> None:
    (finished.root / "wrong.yaml").write_text(text)
    answer = finished.snakemake("--dry-run", "all", config="wrong.yaml")
    assert answer.returncode == 2
    lines = answer.stderr.splitlines()
    errors = [line for line in lines if line.startswith("facerecon: error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert lines[-1] == errors[0]
    assert "Traceback" not in answer.stderr
    assert "Building DAG" not in answer.stdout + answer.stderr


def test_own_photographs_are_counted_into_shards(finished) -> None:
    photographs = finished.root / "mine" / "album"
    photographs.mkdir(parents=True)
    for number in range(5):
        (photographs / f"{number}.jpg").write_bytes(b"")
    (finished.root / "mine.yaml").write_text(
        "datasets: {mine: {adapter: folder, folders: [mine]}}\ntraining_datasets: [mine]\npreprocess: {shard_size: 2}"
    )
    jobs = finished.to_run("all", config="mine.yaml")
    assert jobs["shard"] == jobs["landmarks"] == 3
    assert jobs["synthesize_photographs"] == 0


def test_parsing_the_workflow_imports_no_torch_and_writes_nothing(finished) -> None:
    probe = finished.root / "probe.smk"
    probe.write_text(
        'import sys\ninclude: "Snakefile"\nprint([name in sys.modules for name in ("torch", "cv2", "numba")])\n'
    )
    before = {
        path for path in finished.root.rglob("*") if ".snakemake" not in path.parts and "__pycache__" not in path.parts
    }
    answer = finished.snakemake("--snakefile", "probe.smk", "--list-rules")
    assert answer.returncode == 0, answer.stderr
    assert "[False, False, False]" in answer.stdout
    after = {
        path for path in finished.root.rglob("*") if ".snakemake" not in path.parts and "__pycache__" not in path.parts
    }
    assert after == before
