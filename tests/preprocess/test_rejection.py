"""When rejected images fail a stage."""

import pytest

from facerecon.data.tables import Rejection
from facerecon.errors import InputError
from facerecon.preprocess.rejection import LEAST_JUDGED, check_rejected


def rejections(count: int) -> list[Rejection]:
    return [Rejection(str(k), "landmarks", f"photo{k}.jpg: is truncated") for k in range(count)]


def test_the_limit_holds_for_what_is_not_small():
    check_rejected(rejections(25), 100, 0.25, "m.csv")
    with pytest.raises(InputError, match="m.csv: 26 of 100 images rejected, limit 25% .*: 26 x is truncated"):
        check_rejected(rejections(26), 100, 0.25, "m.csv")
    with pytest.raises(InputError):
        check_rejected(rejections(LEAST_JUDGED), LEAST_JUDGED, 0.99, "m.csv")
    check_rejected(rejections(100), 100, 1.0, "m.csv")


def test_few_images_are_not_judged_but_told(capsys):
    check_rejected([], 1, 0.0, "m.csv")
    assert capsys.readouterr().err == ""
    check_rejected(rejections(1), 1, 0.0, "m.csv, shard 1")
    assert capsys.readouterr().err == "m.csv, shard 1: 1 of 1 images rejected: 1 x is truncated\n"
    check_rejected(rejections(LEAST_JUDGED - 1), LEAST_JUDGED - 1, 0.25, "m.csv")
