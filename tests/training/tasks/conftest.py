"""Toy photographs for the tasks: see tests/toy_photographs.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
from numpy.typing import NDArray
from toy_photographs import toy_mean_landmarks, write_toy_photographs


@pytest.fixture(scope="session")
def write_toy() -> Callable[..., Path]:
    """write_toy(folder, subjects, photos, seed): one shard of toy photographs."""
    return write_toy_photographs


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_photographs(tmp_path_factory.mktemp("toy") / "shard-0")


@pytest.fixture(scope="session")
def toy_mean() -> NDArray:
    return toy_mean_landmarks()
