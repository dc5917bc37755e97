"""A copy of the repository with a finished run of a small configuration, none of whose jobs was really run."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NETWORKS = ("detector", "landmarks", "parsing", "recognition", "amplitude_phase")

RECOGNITION = "results/networks/recognition/model.safetensors"
"""What training the recognition network makes."""

SMALL = """\
photographs: {reconstruction: {subjects: 3, photos_per_subject: 2, subjects_per_folder: 2}}
preprocess: {shard_size: 4}
evaluation: {systems: [mean_face, amplitude_phase, amplitude_phase_trained]}
"""


class Checkout:
    """A copy of the repository. Weights are stand-ins: only their bytes count here."""

    def __init__(self, root: Path):
        self.root = root
        for name in ("Snakefile", "config.yaml", "profiles", "workflow", "recipes"):
            copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
            copy(REPOSITORY / name, root / name)
        networks = REPOSITORY / "src/facerecon/networks"
        shutil.copytree(
            REPOSITORY / "src",
            root / "src",
            ignore=lambda folder, names: (
                {name for name in names if name == "__pycache__"} | ({"assets"} if Path(folder) == networks else set())
            ),
        )
        assets = root / "src/facerecon/networks/assets"
        assets.mkdir()
        for name in NETWORKS:
            (assets / f"{name}.safetensors").write_text(name)
        (root / "small.yaml").write_text(SMALL)

    def snakemake(self, *arguments: str, config: str = "small.yaml") -> subprocess.CompletedProcess[str]:
        """Run snakemake here on the small configuration."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", config, *arguments],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root / "src")},
            capture_output=True,
            text=True,
        )

    def finish(self, target: str = "all", config: str = "small.yaml") -> None:
        """Make a stand-in of every result and have snakemake record it as made by the present settings and code."""
        summary = self.snakemake("--dry-run", "--summary", target, config=config)
        assert summary.returncode == 0, summary.stderr
        for line in summary.stdout.splitlines()[1:]:
            path = self.root / line.split("\t")[0]
            folder = path if not path.suffix else path.parent
            folder.mkdir(parents=True, exist_ok=True)
            (path / "content" if not path.suffix else path).write_text(str(path.relative_to(self.root)))
        touched = self.snakemake("--touch", "--forceall", target, config=config)
        assert touched.returncode == 0, touched.stderr

    def to_run(self, *arguments: str, config: str = "small.yaml") -> Counter[str]:
        """Rule -> number of its jobs that snakemake would run now."""
        answer = self.snakemake("--dry-run", *arguments, config=config)
        assert answer.returncode == 0, answer.stderr
        return self.jobs(answer.stdout)

    @staticmethod
    def jobs(said: str) -> Counter[str]:
        """Rule -> number of its jobs in what a dry run says."""
        return Counter(re.findall(r"^(?:local)?rule (\w+):$", said, flags=re.MULTILINE))

    @contextmanager
    def edited(self, path: str, old: str, new: str) -> Iterator[None]:
        """Within the context, `old` (which must occur) is `new` in a file."""
        file = self.root / path
        before = file.read_text()
        assert old in before, f"{path} has no {old!r}"
        file.write_text(before.replace(old, new, 1))
        try:
            yield
        finally:
            file.write_text(before)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which everything is made and up to date."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.finish()
    return checkout


@pytest.fixture(scope="session")
def recognition_trained(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the recognition network, and nothing else, is trained and up to date."""
    checkout = Checkout(tmp_path_factory.mktemp("recognition"))
    (checkout.root / "small.yaml").write_text(
        "networks: {recognition: train}\n"
        "photographs: {networks: {subjects: 2, photos_per_subject: 1, subjects_per_folder: 2}}\n"
    )
    checkout.finish(RECOGNITION)
    return checkout
