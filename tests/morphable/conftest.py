import pytest

from facerecon.morphable.head import HeadGenerator
from facerecon.morphable.linear import LinearFaceModel
from facerecon.morphable.storage import load_face_model


@pytest.fixture(scope="session", params=[0, 1, 2], ids=["level0", "level1", "level2"])
def face_model(request: pytest.FixtureRequest) -> LinearFaceModel:
    return load_face_model(level=request.param)


@pytest.fixture(scope="session")
def training_model() -> LinearFaceModel:
    return load_face_model(level=1)


@pytest.fixture(scope="session")
def generator() -> HeadGenerator:
    return HeadGenerator.load()
