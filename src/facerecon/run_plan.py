"""What a run's settings mean in files: which datasets, how many shards, whose weights. Asked by the Snakefile.

Reads only the package's own files and lists folders of the user's photographs; writes nothing, imports without torch.
"""

import hashlib
import json
import os
import shlex
from pathlib import Path
from typing import Any

from facerecon.errors import InputError
from facerecon.fingerprint import file_digest
from facerecon.networks import CARRIED
from facerecon.settings import GENERATED_DATASET, SYSTEM_ROWS, Settings
from facerecon.systems.registry import SYSTEMS
from facerecon.training.settings import FREE_SETTINGS

RECONSTRUCTION, NETWORKS = "reconstruction", "networks"
OPEN_MODEL = Path(__file__).parent / "morphable" / "assets" / "open_face.h5"
"""The carried face model."""
TRAINED_SUFFIX = "_trained"
"""A system's name with this suffix means that system with the weights that this run trains."""


class RunPlan:
    """The files of a run. Paths are relative to the folder that the run works in, where they lie below it."""

    def __init__(self, settings: Settings):
        """Raises InputError if the face model's file is missing, a system is asked for whose carried weights belong to
        another face model, or a dataset's folder is missing or holds no photographs."""
        self.settings = settings
        self._check_face_model()
        self._listings: dict[str, list[str]] = {}
        for name in settings.training_datasets:
            self.photographs(name)

    @property
    def systems(self) -> list[str]:
        """Rows of results/now_eval.csv: those of the settings, or all that the face model has weights for."""
        chosen = self.settings.evaluation.systems
        if chosen is not None:
            return list(chosen)
        return [system for system in SYSTEM_ROWS if self._is_open_model or not self._has_carried_weights(system)]

    @property
    def face_model_files(self) -> list[str]:
        """The face model's file, if the run does not take the carried one."""
        return [] if self.settings.face_model is None else [self.settings.face_model]

    def face_model_option(self) -> str:
        """Option of the commands that need the face model, for the shell; empty for the carried one."""
        return "".join(f"--face-model {shlex.quote(path)}" for path in self.face_model_files)

    def folders(self, photographs: str) -> list[str]:
        """Folders of a set of synthetic photographs (`reconstruction`, `networks` or `held_out`)."""
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

    def shard_size(self, dataset: str) -> int:
        """Photographs in a shard: the setting, or less where the last shard would be much smaller than the others."""
        return -(-self.photographs(dataset) // max(len(self.shards(dataset)), 1))

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

    def sheet_weights(self) -> dict[str, str]:
        """Weights that measuring the networks on real photographs reads: option of `facerecon evaluate` -> file."""
        options = {"--detector": "detector", "--landmark-network": "landmarks", "--parsing": "parsing"}
        return {option: self.network_weights(network) for option, network in options.items()}

    def all_network_weights(self) -> dict[str, str]:
        """Weights that `facerecon evaluate networks` reads: option -> file."""
        return self.sheet_weights() | {"--recognition": self.network_weights("recognition")}

    def real_photographs(self, name: str) -> str:
        """The user's folder of real photographs, `aflw2000` or `portraits`. Raises InputError if there is none."""
        folder = getattr(self.settings.evaluation, name)
        if not folder:
            raise InputError(f"evaluation.{name} is empty; name the folder of photographs in a recipe")
        if not Path(folder).is_dir():
            raise InputError(f"evaluation.{name}: {folder}: no such folder")
        return folder

    def predictor(self, system: str) -> str:
        """What `facerecon predict` calls a system of the tables."""
        return system.removesuffix(TRAINED_SUFFIX)

    def trains_systems(self) -> bool:
        """Whether the tables show a system with the weights that this run trains."""
        return any(system.endswith(TRAINED_SUFFIX) for system in self.systems)

    def training_threads(self, name: str) -> int:
        """Threads of a training."""
        return getattr(self.settings.train, name).training.threads

    def training_gpus(self, name: str) -> int:
        """GPUs that a training needs: 1 if its network runs on one."""
        return int(getattr(self.settings.train, name).training.device == "cuda")

    def training_settings(self, name: str) -> str:
        """JSON of what `facerecon train NAME` is told: that network's or system's own settings and `renderer`.

        Without those that do not change the result (`free_training_options`).
        """
        settings: dict[str, Any] = getattr(self.settings.train, name).model_dump(mode="json")
        for setting in FREE_SETTINGS:
            del settings["training"][setting]
        # Carried weights go by no path, which would differ between machines.
        read = {setting: path for setting, path in self._read_by_training(name).items() if _is_result(path)}
        settings["task"].update(read)
        if name in SYSTEMS and settings["task"]["renderer"] is None:
            settings["task"]["renderer"] = self.settings.renderer
        return json.dumps(settings, sort_keys=True, separators=(",", ":"))

    def free_training_options(self, name: str) -> str:
        """Options of `facerecon train NAME` that do not change its result."""
        training = getattr(self.settings.train, name).training
        return " ".join(f"--{key.replace('_', '-')} {getattr(training, key)}" for key in sorted(FREE_SETTINGS))

    def training_weights(self, name: str) -> list[str]:
        """Files besides its data that training a network or system reads, each once."""
        return list(dict.fromkeys(self._read_by_training(name).values()))

    @property
    def _is_open_model(self) -> bool:
        """Whether the run's face model is the carried one, or a copy of it."""
        return all(file_digest(Path(path)) == file_digest(OPEN_MODEL) for path in self.face_model_files)

    def _has_carried_weights(self, system: str) -> bool:
        """Whether a row is a system with the weights of the package."""
        return self.predictor(system) in SYSTEMS and not system.endswith(TRAINED_SUFFIX)

    def _check_face_model(self) -> None:
        for path in self.face_model_files:
            if not Path(path).is_file():
                raise InputError(f"face_model: {path}: no such file; write it with `facerecon model convert`")
        carried_rows = [system for system in self.systems if self._has_carried_weights(system)]
        if carried_rows and not self._is_open_model:
            raise InputError(
                f"evaluation.systems: the weights carried for {carried_rows[0]} belong to the open face model, not to "
                f"{self.settings.face_model}; leave it out: {carried_rows[0]}{TRAINED_SUFFIX} is trained with yours"
            )

    def _read_by_training(self, name: str) -> dict[str, str]:
        """Setting of the task -> the file that it means in this run."""
        task = getattr(self.settings.train, name).task
        # Setting -> the file that it means by `carried`.
        sources: dict[str, str] = {}
        if name in SYSTEMS:
            sources = dict.fromkeys(("initial_weights", "recognition"), self.network_weights("recognition"))
        elif name == "recognition":
            sources = {"initial_trunk": self.network_weights("landmarks")}
        elif name == "landmarks":
            # Those of the package: the run's own landmark network is what is being trained.
            sources = {"initial_weights": carried("landmarks")}
            if task.unlabelled:
                sources |= {"teacher": carried("landmarks"), "teacher_detector": self.network_weights("detector")}
        read: dict[str, str] = {}
        for setting, network_weights in sources.items():
            given = getattr(task, setting)
            if given == CARRIED or (setting == "recognition" and not given):
                read[setting] = network_weights
            elif given:
                read[setting] = given
        return read

    def _photographs_listed(self, dataset: str) -> list[str]:
        """Paths of the photographs of a dataset of the user's, in its manifest's order."""
        if dataset not in self._listings:
            from facerecon.data.adapters import list_images

            chosen = self.settings.datasets[dataset]
            try:
                rows = list_images(chosen.adapter, dataset, chosen.folders)
            except InputError as error:
                raise InputError(f"datasets.{dataset}: {error}") from None
            self._listings[dataset] = [str(row.path) for row in rows]
        return self._listings[dataset]


def carried(network: str) -> str:
    """Path of carried weights; relative below the working folder, so that a moved checkout reruns nothing."""
    path = Path(__file__).parent / "networks" / "assets" / f"{network}.safetensors"
    below = path.is_relative_to(Path.cwd())
    return os.path.relpath(path) if below else str(path)


def weights_id(*paths: str) -> str:
    """Name and SHA-256 of those of these files that no rule makes: a checkout changes their times.

    What the run makes, and missing files, are left out: the workflow itself watches over those.
    """
    files = [Path(path) for path in paths if not _is_result(path)]
    return " ".join(f"{file.name}:{file_digest(file)[:20]}" for file in files if file.is_file())


def _is_result(path: str) -> bool:
    return path.startswith("results/")
