"""Settings of the auxiliary networks' training. Imports without torch.

Each network's own settings (section `task` of its settings file) and, in `TRAINING`, the settings of the loop (section
`training`) under which the carried weights were trained.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
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
    hidden: Annotated[int, Field(ge=8)] = Field(256, description="units before the output")
    shift: NonNegative = Field(0.08, description="largest shift of the crop along x and y, of its side")
    log_scale: NonNegative = Field(0.14, description="largest |log| of the crop's change of scale")
    rotation: NonNegative = Field(0.25, description="largest rotation, rad; one crop in eight: three times it")
    wing_width: Positive = Field(0.10, description="wing loss: |residual| up to which it is logarithmic, crop units")
    wing_curvature: Positive = Field(0.02, description="wing loss: curvature, crop units")
    confidence_weight: NonNegative = Field(0.01, description="weight of the expected error's likelihood")
    hidden_weight: Fraction = Field(0.7, description="weight of landmarks that the photograph does not show")


class DetectorSettings(TaskSettings):
    """The face detector."""

    size: SizeMultipleOf32 = Field(160, description="side of the training scenes, pixels")
    width: Width = Field(32, description="channels at a quarter of the size")
    whole_photo: Fraction = Field(0.25, description="share of scenes that are a photograph as it is, moved and scaled")
    no_person: Fraction = Field(0.25, description="share of scenes without anyone")
    two_people: Fraction = Field(0.25, description="share of the composed scenes that show two people")
    faceless: Fraction = Field(0.10, description="share of pasted people whose face is scrambled, as a counterexample")
    backgrounds: Annotated[int, Field(ge=1)] = Field(240, description="backgrounds prepared at the start")
    photometric: PhotometricSettings = PhotometricSettings(erase=0.1)
    size_weight: NonNegative = Field(0.5, description="weight of the boxes' size")
    offset_weight: NonNegative = Field(0.5, description="weight of the centre's place in its cell")


class ParsingSettings(TaskSettings):
    """The parsing network."""

    size: SizeMultipleOf16 = Field(144, description="side of the crop that the network sees, pixels")
    width: Width = Field(16, description="channels at half the size")
    shift: NonNegative = Field(0.06, description="largest shift of the standard crop along x and y, of its side")
    log_scale: NonNegative = Field(0.12, description="largest |log| of the crop's change of scale")
    rotation: NonNegative = Field(0.20, description="largest rotation, rad")
    class_balance: Fraction = Field(0.5, description="classes weigh as their frequency to the power of minus this")


class RecognitionSettings(TaskSettings):
    """The face recognition network."""

    width: Width = Field(48, description="channels at a quarter of the input")
    dropout: Fraction = Field(0.0, description="share of features dropped before the embedding")
    scale: Positive = Field(20.0, description="margin loss: factor on the cosines")
    margin: NonNegative = Field(0.15, description="margin loss: what is taken off the true subject's cosine")
    margin_steps: Annotated[int, Field(ge=0)] = Field(1000, description="steps over which the margin rises from zero")
    initial_trunk: str | None = Field(
        "carried", description="landmark weights whose trunk it starts from: a file or `carried`; empty: random"
    )
    trait_weight: NonNegative = Field(10.0, description="weight of the traits' mean squared error")
    shift: NonNegative = Field(0.03, description="largest shift of the standard crop along x and y, of its side")
    log_scale: NonNegative = Field(0.06, description="largest |log| of the crop's change of scale")
    rotation: NonNegative = Field(0.08, description="largest rotation, rad")
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="share of the subjects kept for validation"
    )
    validation_limit: Annotated[int, Field(ge=1)] = Field(1200, description="most photographs validated on")
    photometric: PhotometricSettings = PhotometricSettings(erase=0.15)


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
    "detector": {**_COMMON, "steps": 3000, "batch_size": 24, "learning_rate": 2e-3, "warmup_steps": 100},
    "parsing": {**_COMMON, "steps": 1600, "batch_size": 24, "learning_rate": 2e-3, "warmup_steps": 100},
    "recognition": {**_COMMON, "steps": 1200, "batch_size": 64, "learning_rate": 1e-3, "warmup_steps": 60,
                    "weight_decay": 0.05},
}  # fmt: skip
