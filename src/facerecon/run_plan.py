"""What a run's settings mean in files: which datasets, how many shards, whose weights. Asked by the Snakefile.

Reads only the package's own files and lists folders of the user's photographs; writes nothing, imports without torch.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from facerecon.errors import InputError
from facerecon.fingerprint import file_digest
from facerecon.settings import GENERATED_DATASET, Settings
from facerecon.systems.registry import SYSTEMS

CARRIED = "carried"
RECONSTRUCTION, NETWORKS = "reconstruction", "networks"
TRAINED_SUFFIX = "_trained"
"""A system's name with this suffix means that system with the weights that this run trains."""


class RunPlan:
    """The files of a run. Paths are relative to the folder that the run works in, where they lie below it."""

    def __init__(self, settings: Settings):
        """Raises InputError if a dataset's folder is missing or holds no photographs."""
        self.settings = settings
        self._listings: dict[str, list[str]] = {}
        for name in settings.training_datasets:
            self.photographs(name)

    def folders(self, photographs: str) -> list[str]:
        """Folders of a set of synthetic photographs (`reconstruction` or `networks`)."""
        count = getattr(self.settings.photographs, photographs).folders
        return [f"results/photographs/{photographs}/{folder}" for folder in range(count)]

    def synthesis_options(self, photographs: str, folder: int) -> str:
        """Options of `facerecon data synthesize` for one folder of a set of synthetic photographs."""
        chosen = getattr(self.settings.photographs, photographs)
        first = chosen.first_subject + folder * chosen.subjects_per_folder
        return (
            f"--first-subject {first} --subjects {chosen.subjects_in(folder)} "
            f"--photos-per-subject {chosen.photos_per_subject} --size {chosen.size} --seed {chosen.seed}"
        )

    def benchmark_options(self) -> str:
        """Options of `facerecon data benchmark`."""
        subjects = self.settings.now_benchmark.subjects
        return "" if subjects is None else f"--subjects {subjects}"

    def dataset_folders(self, dataset: str) -> list[str]:
        """Folders that a dataset's manifest is made from."""
        if dataset == GENERATED_DATASET:
            return self.folders(RECONSTRUCTION)
        return list(self.settings.datasets[dataset].folders)

    def dataset_adapter(self, dataset: str) -> str:
        """Adapter that reads a dataset's folders."""
        return "synthetic" if dataset == GENERATED_DATASET else self.settings.datasets[dataset].adapter

    def photographs(self, dataset: str) -> int:
        """Number of photographs of a dataset."""
        if dataset == GENERATED_DATASET:
            return self.settings.photographs.reconstruction.photographs
        return len(self._photographs_listed(dataset))

    def listing(self, dataset: str) -> str:
        """Fingerprint of the photographs' names in a dataset of the user's; empty for the generated one."""
        if dataset == GENERATED_DATASET:
            return ""
        return hashlib.sha256("\n".join(self._photographs_listed(dataset)).encode()).hexdigest()[:20]

    def shards(self, dataset: str) -> list[int]:
        """Numbers of a dataset's shards."""
        return list(range(-(-self.photographs(dataset) // self.settings.preprocess.shard_size)))

    def training_shards(self) -> list[str]:
        """All shards that systems are trained on."""
        names = self.settings.training_datasets
        return [f"results/datasets/{name}/shards/{shard}/shard.h5" for name in names for shard in self.shards(name)]

    def is_trained(self, network: str) -> bool:
        """Whether this run trains an auxiliary network rather than taking the carried weights."""
        return network in self.settings.networks.trained

    def network_weights(self, network: str) -> str:
        """Weights of an auxiliary network."""
        return f"results/networks/{network}/model.safetensors" if self.is_trained(network) else carried(network)

    def system_weights(self, system: str) -> dict[str, str]:
        """Weights that predicting with a system of the tables reads: option of `facerecon predict` -> file."""
        predictor = self.predictor(system)
        if predictor not in SYSTEMS:
            return {}
        trained = f"results/training/{predictor}/model.safetensors"
        return {
            "--weights": carried(predictor) if predictor == system else trained,
            "--detector": self.network_weights("detector"),
            "--landmark-network": self.network_weights("landmarks"),
        }

    def predictor(self, system: str) -> str:
        """What `facerecon predict` calls a system of the tables."""
        return system.removesuffix(TRAINED_SUFFIX)

    def trains_systems(self) -> bool:
        """Whether the tables show a system with the weights that this run trains."""
        return any(system.endswith(TRAINED_SUFFIX) for system in self.settings.evaluation.systems)

    def training_threads(self, name: str) -> int:
        """Threads of a training."""
        return getattr(self.settings.train, name).training.threads

    def training_settings(self, name: str) -> str:
        """JSON of what `facerecon train NAME` is told: that network's or system's own settings and `renderer`."""
        settings: dict[str, Any] = getattr(self.settings.train, name).model_dump(mode="json")
        if name in SYSTEMS and settings["task"]["renderer"] is None:
            settings["task"]["renderer"] = self.settings.renderer
        if name in SYSTEMS and self.is_trained("recognition"):
            settings["task"]["recognition"] = self.network_weights("recognition")
            if settings["task"]["initial_weights"] == CARRIED:
                settings["task"]["initial_weights"] = self.network_weights("recognition")
        if self.starting_weights(name):
            settings["task"]["initial_trunk"] = self.network_weights("landmarks")
        return json.dumps(settings, sort_keys=True, separators=(",", ":"))

    def starting_weights(self, network: str) -> list[str]:
        """Weights of this run that training an auxiliary network starts from: recognition's trunk is the landmarks'."""
        starts = network == "recognition" and self.settings.train.recognition.task.initial_trunk == CARRIED
        return [self.network_weights("landmarks")] if starts and self.is_trained("landmarks") else []

    def training_weights(self, system: str) -> list[str]:
        """Weights that training a system reads."""
        task = getattr(self.settings.train, system).task
        named = (task.initial_weights, task.recognition, task.face_model)
        given = [path for path in named if path and path != CARRIED]
        return given if task.recognition else [*given, self.network_weights("recognition")]

    def _photographs_listed(self, dataset: str) -> list[str]:
        """Ids of the photographs of a dataset of the user's, as its manifest will have them."""
        if dataset not in self._listings:
            from facerecon.data.adapters import ADAPTERS

            chosen, ids = self.settings.datasets[dataset], []
            for folder in map(Path, chosen.folders):
                rows = ADAPTERS[chosen.adapter](folder, dataset)
                if not rows:
                    raise InputError(
                        f"datasets.{dataset}: {folder} has no photographs for the {chosen.adapter} adapter"
                    )
                ids += [row.id for row in rows]
            self._listings[dataset] = ids
        return self._listings[dataset]


def carried(network: str) -> str:
    """Path of carried weights; relative below the working folder, so that a moved checkout reruns nothing."""
    path = Path(__file__).parent / "networks" / "assets" / f"{network}.safetensors"
    below = path.is_relative_to(Path.cwd())
    return os.path.relpath(path) if below else str(path)


def weights_id(*paths: str) -> str:
    """Name and SHA-256 of those of these weights that no rule makes: a checkout changes their times.

    Weights that the run trains, and missing ones, are left out: the workflow itself watches over those.
    """
    files = [Path(path) for path in paths if not path.startswith("results/")]
    return " ".join(f"{file.name}:{file_digest(file)[:20]}" for file in files if file.is_file())
