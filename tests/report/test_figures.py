from pathlib import Path

import cv2
import pytest

from facerecon.errors import InputError
from facerecon.report.figures import read_metrics, training_curve

METRICS = "step,learning_rate,loss,photometric,gradient_norm,validation_median\n2,0.1,4.0,3.0,1,\n4,0.1,2.5,2.0,1,0.5\n"


def test_losses_are_read_and_the_rest_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(METRICS)
    assert read_metrics(path) == {
        "loss": ([2.0, 4.0], [4.0, 2.5]),
        "photometric": ([2.0, 4.0], [3.0, 2.0]),
        "validation_median": ([4.0], [0.5]),
    }


def test_the_curve_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(METRICS)
    training_curve(path, tmp_path / "figures" / "a.png")
    training_curve(path, tmp_path / "b.png")
    picture = cv2.imread(str(tmp_path / "figures" / "a.png"))
    assert picture.shape == (840, 1200, 3)
    assert picture.min() < 60 < 250 < picture.max()
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "figures" / "a.png").read_bytes()
    path.write_text(METRICS.replace("4.0", "40.0"))
    training_curve(path, tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() != (tmp_path / "figures" / "a.png").read_bytes()


def test_the_fixed_weight_part_is_drawn_beside_the_total(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,objective\n1,4,2\n2,1,1\n")
    training_curve(path, tmp_path / "both.png")
    path.write_text("step,loss\n1,4\n2,1\n")
    training_curve(path, tmp_path / "total.png")
    both, total = (cv2.imread(str(tmp_path / name)) for name in ("both.png", "total.png"))
    assert (both[:400] != total[:400]).any()


def test_a_run_with_the_total_loss_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,2\n")
    training_curve(path, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("", "needs rows"),
        ("step,loss\n", "needs rows"),
        ("step,photometric\n1,2\n", "needs rows"),
        ("step,loss\n1,\n", "the column loss is empty"),
        ("step,loss\n1,x\n", "'x' is not a finite number"),
        ("step,loss\n1,nan\n", "'nan' is not a finite number"),
        ("step,loss\n,1\n", "is not a finite number"),
    ],
)
def test_wrong_metrics_are_named(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "metrics.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=rf"metrics\.csv: .*{said}"):
        training_curve(path, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
