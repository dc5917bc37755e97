import csv
from pathlib import Path

import pytest

from facerecon.artefacts import sha256_file
from facerecon.errors import InputError
from facerecon.evaluate.geometric.now import COLUMNS
from facerecon.provenance import provenance_record, read_provenance, write_beside
from facerecon.report.tables import merge_now


def evaluation(folder: Path, name: str, systems: list[str]) -> Path:
    """An evaluation file with one row a system."""
    path = folder / f"{name}.csv"
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for system in systems:
            writer.writerow([system, "metrical", "official", "all", "1.230000", "1.5", "0.9", "80", "0", "123456"])
    return path


def test_rows_keep_their_order_and_their_digits(tmp_path: Path) -> None:
    files = [evaluation(tmp_path, "b", ["beta", "gamma"]), evaluation(tmp_path, "a", ["alpha"])]
    out = tmp_path / "tables" / "now_eval.csv"
    merge_now(files, out)
    lines = out.read_text().splitlines()
    assert lines[0] == "system,variant,protocol,challenge,median_mm,mean_mm,std_mm,scans,failed,vertices"
    assert lines[1] == "beta,metrical,official,all,1.230000,1.5,0.9,80,0,123456"
    assert [line.split(",")[0] for line in lines[1:]] == ["beta", "gamma", "alpha"]


def test_the_table_says_which_evaluations_and_benchmark_it_is_of(tmp_path: Path) -> None:
    files = [evaluation(tmp_path, "a", ["alpha"]), evaluation(tmp_path, "b", ["beta"])]
    write_beside(files[0], provenance_record("evaluate.now", inputs={"benchmark": "12ab"}))
    merge_now(files, tmp_path / "now_eval.csv")
    inputs = read_provenance(tmp_path / "now_eval.csv")["inputs"]
    assert inputs["a"] == sha256_file(files[0]) != inputs["b"]
    assert (inputs["benchmark of a"], inputs["benchmark of b"]) == ("12ab", "unknown")


def test_one_file_is_copied_byte_for_byte(tmp_path: Path) -> None:
    file = evaluation(tmp_path, "a", ["alpha"])
    merge_now([file], tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == file.read_bytes()


def test_a_system_twice_is_refused(tmp_path: Path) -> None:
    files = [evaluation(tmp_path, "a", ["alpha"]), evaluation(tmp_path, "b", ["alpha"])]
    with pytest.raises(InputError, match=r"b\.csv: has alpha, metrical, official, all as .*a\.csv does"):
        merge_now(files, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "the columns must be"),
        (b"system,median\na,1\n", "the columns must be"),
        ((",".join(COLUMNS) + "\n").encode(), "has no rows"),
        ((",".join(COLUMNS) + "\na,b\n").encode(), "line 2 must have 10 fields"),
        ((",".join(COLUMNS) + "\n" + "a," * 11 + "\n").encode(), "line 2 must have 10 fields"),
        (b"\xff\xfe\x00", "not a CSV file"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "wrong.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"wrong\.csv: .*{said}"):
        merge_now([evaluation(tmp_path, "a", ["alpha"]), path], tmp_path / "out.csv")


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no evaluations"):
        merge_now([], tmp_path / "out.csv")
