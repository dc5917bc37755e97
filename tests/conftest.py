"""Options for tests that need folders which the project does not carry, and one thread a test process."""

import os
from pathlib import Path

import pytest

# Tests run side by side (pytest -n): with more threads than cores torch's wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reference-cases",
        metavar="DIR",
        help="folder of inputs with the official evaluators' and networks' results (now/, facescape/, weights/)",
    )
    parser.addoption("--real", metavar="DIR", help="folder of real photographs (photos/, aflw2000/)")


def given_folder(config: pytest.Config, option: str) -> Path | None:
    """The folder that an option names, from where pytest was started, or None; a wrong one ends the run."""
    value = config.getoption(option)
    if value is None:
        return None
    folder = (config.invocation_params.dir / value).resolve()
    if not folder.is_dir():
        raise pytest.UsageError(f"{option} {value}: there is no such folder")
    return folder


def pytest_configure(config: pytest.Config) -> None:
    for option in ("--reference-cases", "--real"):
        given_folder(config, option)


@pytest.fixture(scope="session")
def reference_cases(pytestconfig: pytest.Config) -> Path:
    """The folder of reference cases; the test is skipped without it."""
    return _folder_or_skip(pytestconfig, "--reference-cases")


@pytest.fixture(scope="session")
def real_photographs(pytestconfig: pytest.Config) -> Path:
    """The folder of real photographs; the test is skipped without it."""
    return _folder_or_skip(pytestconfig, "--real")


def _folder_or_skip(config: pytest.Config, option: str) -> Path:
    folder = given_folder(config, option)
    if folder is None:
        pytest.skip(f"needs a folder that the project does not carry: give {option} DIR")
    return folder
