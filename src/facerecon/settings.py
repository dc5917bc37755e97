"""Every setting of a run, typed, in one place. Imports without torch.

`config.yaml`, `workflow/schemas/config.schema.json` and `docs/settings.md` are written from these classes
(`make settings`; a test fails if they differ). A recipe overrides keys of `config.yaml` and adds none. Settings of the
training loop and of each trainable thing lie beside their code and are put together here.
"""

import difflib
import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from facerecon.errors import InputError
from facerecon.render.settings import Renderer
from facerecon.systems.amplitude_phase.settings import Settings as AmplitudePhaseSettings
from facerecon.training.settings import TrainingSettings
from facerecon.training.tasks.settings import (
    TRAINING,
    DetectorSettings,
    LandmarkSettings,
    ParsingSettings,
    RecognitionSettings,
)

GENERATED_DATASET = "synthetic"
"""The dataset that the run renders itself, as `photographs` says."""

System = Literal["mean_face", "oracle", "amplitude_phase", "amplitude_phase_trained"]
SYSTEM_ROWS: tuple[System, ...] = get_args(System)
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[int, Field(ge=1)]
DatasetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


class Section(BaseModel):
    """A group of settings: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PhotographSettings(Section):
    """Synthetic photographs of one purpose, rendered in folders that can be made independently."""

    first_subject: Annotated[int, Field(ge=0)] = Field(
        500_000, description="number of the first identity; the carried networks learned from lower ones"
    )
    subjects: Positive = Field(150, description="identities")
    photos_per_subject: Annotated[int, Field(ge=1, le=100)] = Field(4, description="photographs of each identity")
    subjects_per_folder: Positive = Field(25, description="identities rendered by one job into one folder")
    size: Annotated[int, Field(ge=64, le=1024)] = Field(224, description="side of a photograph, pixels")
    seed: Seed = Field(0, description="seed of identities and scenes")

    @property
    def folders(self) -> int:
        """Number of folders."""
        return -(-self.subjects // self.subjects_per_folder)

    @property
    def photographs(self) -> int:
        """Number of photographs in all folders."""
        return self.subjects * self.photos_per_subject

    def subjects_in(self, folder: int) -> int:
        """Number of identities in folder 0, 1, ...; the last one may hold fewer."""
        return min(self.subjects_per_folder, self.subjects - folder * self.subjects_per_folder)


class PhotographSets(Section):
    """Synthetic photographs by what they are for. Identities of the sets and of the benchmark must not overlap."""

    reconstruction: PhotographSettings = Field(
        PhotographSettings(), description="to train face reconstruction on (dataset `synthetic`)"
    )
    networks: PhotographSettings = Field(
        PhotographSettings(first_subject=1_000_000, subjects=4000, photos_per_subject=8, subjects_per_folder=100),
        description="to train auxiliary networks on; rendered only if `networks` has one trained",
    )
    held_out: PhotographSettings = Field(
        PhotographSettings(first_subject=900_000, subjects=600, photos_per_subject=8, subjects_per_folder=75),
        description="to measure auxiliary networks on; rendered only for results/networks.csv",
    )

    @model_validator(mode="after")
    def _disjoint(self) -> "PhotographSets":
        names = type(self).model_fields
        for one, other in itertools.combinations(sorted(names, key=lambda name: getattr(self, name).first_subject), 2):
            first, second = getattr(self, one), getattr(self, other)
            if first.seed == second.seed and first.first_subject + first.subjects > second.first_subject:
                raise ValueError(f"the identities of {one} and {other} overlap: move first_subject of one")
        return self


class DatasetSettings(Section):
    """Photographs of your own to train on."""

    adapter: Literal["folder", "synthetic"] = Field(
        description="layout: `folder` any tree of photographs, `synthetic` what `facerecon data synthesize` writes"
    )
    folders: Annotated[list[str], Field(min_length=1)] = Field(description="folders to read, in this order")


class BenchmarkSettings(Section):
    """The open NoW-format benchmark. The package carries it, frozen by a content hash."""

    subjects: Positive | None = Field(None, description="only the first so many identities, for trials; empty: all")


class PreprocessSettings(Section):
    """From photographs to shards."""

    shard_size: Positive = Field(150, description="photographs in a shard: one job a stage and shard")
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25,
        description="a stage fails if it must reject more than this of a shard of 20 photographs or more; 1: never",
    )


class NetworkSettings(Section):
    """Weights of the auxiliary networks: `carried` by the package, or `train`, trained by this run."""

    detector: Literal["carried", "train"] = Field("carried", description="face detector")
    landmarks: Literal["carried", "train"] = Field("carried", description="68 landmarks")
    parsing: Literal["carried", "train"] = Field("carried", description="face parsing, 19 classes")
    recognition: Literal["carried", "train"] = Field("carried", description="face recognition, for identity losses")

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the networks that this run trains."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) == "train")


class AmplitudePhaseTraining(Section):
    """Training of the system amplitude_phase."""

    training: TrainingSettings = Field(
        TrainingSettings(steps=300, learning_rate=6e-4, schedule="cosine", warmup_steps=30, ema_decay=0.98),
        description="the loop",
    )
    task: AmplitudePhaseSettings = Field(
        AmplitudePhaseSettings(initial_weights="carried", fit_steps=300), description="network and losses"
    )


class DetectorTraining(Section):
    """Training of the face detector."""

    training: TrainingSettings = Field(TrainingSettings(**TRAINING["detector"]), description="the loop")
    task: DetectorSettings = Field(DetectorSettings(), description="network and losses")


class LandmarkTraining(Section):
    """Training of the landmark network."""

    training: TrainingSettings = Field(TrainingSettings(**TRAINING["landmarks"]), description="the loop")
    task: LandmarkSettings = Field(LandmarkSettings(), description="network and losses")


class ParsingTraining(Section):
    """Training of the parsing network."""

    training: TrainingSettings = Field(TrainingSettings(**TRAINING["parsing"]), description="the loop")
    task: ParsingSettings = Field(ParsingSettings(), description="network and losses")


class RecognitionTraining(Section):
    """Training of the recognition network."""

    training: TrainingSettings = Field(TrainingSettings(**TRAINING["recognition"]), description="the loop")
    task: RecognitionSettings = Field(RecognitionSettings(), description="network and losses")


class TrainSettings(Section):
    """Everything that can be trained. Auxiliary networks are trained only where `networks` says so."""

    amplitude_phase: AmplitudePhaseTraining = Field(AmplitudePhaseTraining(), description="face reconstruction")
    detector: DetectorTraining = Field(DetectorTraining(), description="face detector")
    landmarks: LandmarkTraining = Field(LandmarkTraining(), description="68 landmarks")
    parsing: ParsingTraining = Field(ParsingTraining(), description="face parsing")
    recognition: RecognitionTraining = Field(RecognitionTraining(), description="face recognition")


class EvaluationSettings(Section):
    """What is measured, and on what."""

    systems: Annotated[list[System], Field(min_length=1)] | None = Field(
        None,
        description="rows, in order; `amplitude_phase` has the carried weights, which need the open face model, "
        "`amplitude_phase_trained` this run's; empty: all that the face model allows",
    )
    protocol: Literal["official", "corrected", "both"] = Field("both", description="NoW protocols to evaluate under")
    network_photographs: Positive = Field(
        1000, description="most of the photographs `held_out` that results/networks.csv is measured on"
    )
    aflw2000: str | None = Field(
        None, description="folder in AFLW2000-3D's layout, for results/figures/aflw2000.png and its figures beside it"
    )
    portraits: str | None = Field(
        None,
        description="folder of photographs with five points each, for results/figures/portraits.png and its figures",
    )

    @field_validator("systems")
    @classmethod
    def _once(cls, systems: list[str] | None) -> list[str] | None:
        if systems and len(set(systems)) < len(systems):
            raise ValueError("names a system twice")
        return systems


class Settings(Section):
    """Settings of a run, from photographs to results/now_eval.csv."""

    face_model: str | None = Field(
        None,
        description="file of `facerecon model convert` to fit, train and predict with; empty: the open face model",
    )
    photographs: PhotographSets = Field(PhotographSets(), description="synthetic photographs to render")
    datasets: dict[DatasetName, DatasetSettings] = Field({}, description="your own photographs: name -> where they are")
    training_datasets: Annotated[list[str], Field(min_length=1)] = Field(
        [GENERATED_DATASET], description="what to train on: `synthetic` (rendered by the run) and names from `datasets`"
    )
    now_benchmark: BenchmarkSettings = Field(BenchmarkSettings(), description="the open NoW-format benchmark")
    preprocess: PreprocessSettings = Field(PreprocessSettings(), description="from photographs to shards")
    networks: NetworkSettings = Field(NetworkSettings(), description="weights of the auxiliary networks")
    renderer: Renderer = Field(
        "auto",
        description="what renders in training: `cpu`, `triton` (on cuda), `pytorch3d`, or `auto`: by training.device",
    )
    train: TrainSettings = Field(TrainSettings(), description="training, by what is trained")
    evaluation: EvaluationSettings = Field(EvaluationSettings(), description="what is measured, and on what")

    @model_validator(mode="after")
    def _datasets_known(self) -> "Settings":
        if GENERATED_DATASET in self.datasets:
            raise ValueError(f"datasets: the name {GENERATED_DATASET!r} is the run's own; choose another")
        for name in self.training_datasets:
            if name != GENERATED_DATASET and name not in self.datasets:
                raise ValueError(
                    f"training_datasets: {name!r} is not among datasets ({', '.join(self.datasets) or 'none'})"
                )
        if len(set(self.training_datasets)) < len(self.training_datasets):
            raise ValueError("training_datasets names a dataset twice")
        return self


def parse_settings(config: Mapping[str, Any], source: str = "config") -> Settings:
    """Settings from a plain mapping, such as a YAML file's content; absent keys have their defaults.

    Raises InputError, one line, for an unknown key (with the nearest valid name) or a value that is not allowed.
    """
    try:
        return Settings.model_validate(dict(config))
    except ValidationError as error:
        problems = error.errors()
        unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
        text = _unknown_key(unknown[0]["loc"]) if unknown else _bad_value(problems[0])
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{source}: {text}{more}") from None


def setting_names(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings, sections included."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, f"{prefix}{name}.")


def _unknown_key(location: tuple[int | str, ...]) -> str:
    path = ".".join(map(str, location))
    return f"unknown key {path!r}; did you mean {nearest_setting(path)!r}?"


def nearest_setting(path: str) -> str:
    """The valid setting that a wrong dotted name most likely means: misspelt in its section, or put in another one."""
    names = list(setting_names())
    parent, _, key = path.rpartition(".")
    siblings = [name for name in names if name.rpartition(".")[0] == parent]
    moved = [name for name in names if name.rpartition(".")[2] == key]
    misspelt = [name for name in names if difflib.get_close_matches(key, [name.rpartition(".")[2]])]
    candidates = moved or [name for name in siblings if name in misspelt] or misspelt or siblings or names
    return difflib.get_close_matches(path, candidates, n=1, cutoff=0)[0]


def _bad_value(problem: Mapping[str, Any]) -> str:
    path = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], Mapping | BaseModel) else f" (given: {problem['input']!r})"
    return f"{path + ': ' if path else ''}{message}{given}"
