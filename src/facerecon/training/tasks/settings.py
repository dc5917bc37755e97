"""Settings of the auxiliary networks' training. Imports without torch.

Each network's own settings (section `task` of its settings file) and, in `TRAINING`, the settings of the loop (section
`training`) under which the carried weights were trained.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FractionBelowOne = Annotated[float, Field(ge=0, lt=1)]
SizeMultipleOf16 = Annotated[int, Field(ge=32, le=512, multiple_of=16)]
SizeMultipleOf32 = Annotated[int, Field(ge=64, le=512, multiple_of=32)]
Width = Annotated[int, Field(ge=4, le=256, multiple_of=2)]


class PhotometricSettings(BaseModel):
    """Random changes of a training picture's values; each probability is that of one picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gain: NonNegative = Field(0.25, description="largest relative change of brightness")
    channel_gain: NonNegative = Field(0.10, description="largest relative change of one channel more")
    offset: NonNegative = Field(0.08, description="largest value added, of 1")
    gamma: NonNegative = Field(0.30, description="largest |log gamma|")
    mono: Fraction = Field(0.12, description="probability of a gray picture; as many others lose some colour")
    blur: Fraction = Field(0.20, description="probability of a Gaussian blur of 0.4 to 1.6 pixels")
    coarse: Fraction = Field(0.15, description="probability of shrinking to 0.35 to 0.8 and enlarging again")
    noise: Fraction = Field(0.20, description="probability of sensor noise of 1 to 5 percent")
    jpeg: Fraction = Field(0.25, description="probability of JPEG compression at quality 15 to 80")
    erase: Fraction = Field(0.30, description="probability of hiding one or two rectangles")


class TaskSettings(BaseModel):
    """What the tasks share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.04, description="share of the subjects kept for validation"
    )
    validation_limit: Annotated[int, Field(ge=1)] = Field(1024, description="most photographs validated on")
    photometric: PhotometricSettings = PhotometricSettings()


class LandmarkSettings(TaskSettings):
    """The landmark network."""

    size: SizeMultipleOf16 = Field(112, description="side of the crop, pixels")
    width: Width = Field(48, description="channels at a quarter of the size")
    hidden: Annotated[int, Field(ge=8)] = Field(256, description="units before the first guess")
    head: Literal["regression", "soft_argmax", "refined"] = Field(
        "refined",
        description="the first guess itself, heat maps' centres of mass, or the guess moved by two more looks",
    )
    guess_weight: NonNegative = Field(0.3, description="weight of the loss of each guess before the answer")
    shift: NonNegative = Field(0.08, description="largest shift of the crop along x and y, of its side")
    log_scale: NonNegative = Field(0.14, description="largest |log| of the crop's change of scale")
    rotation: NonNegative = Field(0.25, description="largest rotation, rad; one crop in eight: three times it")
    wing_width: Positive = Field(0.10, description="wing loss: |residual| up to which it is logarithmic, crop units")
    wing_curvature: Positive = Field(0.02, description="wing loss: curvature, crop units")
    confidence_weight: NonNegative = Field(0.01, description="weight of the expected error's likelihood")
    hidden_weight: Fraction = Field(0.7, description="weight of landmarks that the photograph does not show")
    initial_weights: str | None = Field(
        None, description="landmark weights to start from: a file or `carried`; empty: random"
    )
    unlabelled: list[str] = Field(
        [], description="folders of your photographs to learn from as well, by what `teacher` finds in them"
    )
    unlabelled_share: FractionBelowOne = Field(
        0.25, description="share of a batch that comes from `unlabelled`, if given"
    )
    unlabelled_error: Positive = Field(
        0.04, description="largest error that the teacher may expect of a face's points, of the box's longer side"
    )
    teacher: str = Field("carried", description="landmark weights that mark `unlabelled`: a file or `carried`")
    teacher_detector: str = Field("carried", description="detector weights that find faces in `unlabelled`")


class DetectorSettings(TaskSettings):
    """The face detector."""

    size: SizeMultipleOf32 = Field(160, description="side of the training scenes, pixels")
    width: Width = Field(32, description="channels at a quarter of the size")
    whole_photo: Fraction = Field(0.25, description="share of scenes that are a photograph as it is, moved and scaled")
    no_person: Fraction = Field(0.15, description="share of the other scenes without anyone")
    more_people: Fraction = Field(0.6, description="share of the composed scenes that show more people than one")
    most_people: Annotated[int, Field(ge=1, le=16)] = Field(4, description="most people in a composed scene")
    faceless: Fraction = Field(0.10, description="share of pasted people whose face is scrambled, as a counterexample")
    backgrounds: Annotated[int, Field(ge=1)] = Field(600, description="backgrounds prepared at the start")
    photometric: PhotometricSettings = PhotometricSettings(erase=0.1)
    overlap_weight: NonNegative = Field(1.0, description="weight of 1 - the boxes' generalised intersection over union")
    size_weight: NonNegative = Field(0.5, description="weight of the boxes' size")
    offset_weight: NonNegative = Field(0.5, description="weight of the centre's place in its cell")


class ParsingSettings(TaskSettings):
    """The parsing network."""

    size: SizeMultipleOf16 = Field(128, description="side of the crop that the network sees, pixels")
    width: Width = Field(20, description="channels at half the size")
    full_size: bool = Field(True, description="tell classes at the crop's size, not at a quarter of it")
    shift: NonNegative = Field(0.06, description="largest shift of the standard crop along x and y, of its side")
    log_scale: NonNegative = Field(0.12, description="largest |log| of the crop's change of scale")
    rotation: NonNegative = Field(0.20, description="largest rotation, rad")
    class_balance: Fraction = Field(0.5, description="classes weigh as their frequency to the power of minus this")
    overlap_weight: NonNegative = Field(1.0, description="weight of 1 - the classes' mean Dice coefficient")
    # Nothing is erased: what hides a face has its own class in the photographs, which erased parts would contradict.
    photometric: PhotometricSettings = PhotometricSettings(erase=0.0, blur=0.12, coarse=0.10)


class RecognitionSettings(TaskSettings):
    """The face recognition network."""

    width: Width = Field(48, description="channels at a quarter of the input")
    dropout: Fraction = Field(0.0, description="share of features dropped before the embedding")
    photos_per_subject: Annotated[int, Field(ge=1)] = Field(
        4, description="photographs of each subject in a batch; 1 draws photographs without regard to subjects"
    )
    scale: Positive = Field(24.0, description="margin loss: factor on the cosines")
    margin: NonNegative = Field(0.25, description="margin loss: what is taken off the true subject's cosine")
    margin_steps: Annotated[int, Field(ge=0)] = Field(1000, description="steps over which the margin rises from zero")
    pair_weight: NonNegative = Field(1.0, description="weight of the contrast between the batch's own photographs")
    pair_temperature: Positive = Field(0.1, description="contrast: divides the cosines")
    initial_trunk: str | None = Field(
        "carried", description="landmark weights whose trunk it starts from: a file or `carried`; empty: random"
    )
    trait_weight: NonNegative = Field(3.0, description="weight of the traits' mean squared error")
    shift: NonNegative = Field(0.02, description="largest shift of the standard crop along x and y, of its side")
    log_scale: NonNegative = Field(0.05, description="largest |log| of the crop's change of scale")
    rotation: NonNegative = Field(0.06, description="largest rotation, rad")
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="share of the subjects kept for validation"
    )
    validation_limit: Annotated[int, Field(ge=1)] = Field(1600, description="most photographs validated on")
    # The photographs' own light and cameras vary; more of it hides the colour and fine marks that tell people apart.
    photometric: PhotometricSettings = PhotometricSettings(
        gain=0.15, channel_gain=0.04, offset=0.04, gamma=0.15, mono=0.04, blur=0.1, coarse=0.1, noise=0.1, jpeg=0.15,
        erase=0.05,
    )  # fmt: skip


TASK_SETTINGS: dict[str, type[TaskSettings]] = {
    "landmarks": LandmarkSettings,
    "detector": DetectorSettings,
    "parsing": ParsingSettings,
    "recognition": RecognitionSettings,
}

_COMMON: dict[str, Any] = {
    "optimizer": "adamw", "schedule": "cosine", "weight_decay": 0.02, "ema_decay": 0.995, "bf16": True,
}  # fmt: skip
TRAINING: dict[str, dict[str, Any]] = {
    "landmarks": {**_COMMON, "steps": 4800, "batch_size": 64, "learning_rate": 2e-3, "warmup_steps": 150},
    "detector": {**_COMMON, "steps": 4000, "batch_size": 24, "learning_rate": 2e-3, "warmup_steps": 100},
    "parsing": {**_COMMON, "steps": 3400, "batch_size": 24, "learning_rate": 3e-3, "warmup_steps": 150},
    "recognition": {**_COMMON, "steps": 3400, "batch_size": 96, "learning_rate": 1.5e-3, "warmup_steps": 150,
                    "weight_decay": 0.05},
}  # fmt: skip


def training_defaults(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the loop that `given` leaves out of a training of `name`: those of TRAINING, none for another name.

    A training that is told fewer steps, but no warm-up, warms up for a tenth of them at most.
    """
    defaults = dict(TRAINING.get(name, {}))
    steps = given.get("steps")
    if defaults and isinstance(steps, int):
        defaults["warmup_steps"] = min(defaults["warmup_steps"], steps // 10)
    return {setting: value for setting, value in defaults.items() if setting not in given}
