"""A store of toy photographs: see tests/toy_photographs.py."""

from pathlib import Path

import pytest
from toy_photographs import write_toy_photographs

from facerecon.training.tasks.photographs import PhotographStore


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_photographs(tmp_path_factory.mktemp("toy") / "shard-0")


@pytest.fixture(scope="session")
def store(toy_folder: Path) -> PhotographStore:
    return PhotographStore([toy_folder])
