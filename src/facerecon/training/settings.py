"""Settings of the training loop, the same for every system and auxiliary network. Imports without torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FREE_SETTINGS = frozenset({"checkpoint_seconds", "prefetch"})
"""Settings that change when work is saved and prepared, not its result: a run may go on under other values of them."""


class TrainingSettings(BaseModel):
    """How long, how fast and how carefully to train."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: Annotated[int, Field(ge=1)] = Field(1000, description="optimiser steps")
    batch_size: Annotated[int, Field(ge=1)] = Field(16, description="images in a step")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of initial weights, batches and augmentation")
    threads: Annotated[int, Field(ge=1)] = Field(2, description="CPU threads; the same number gives the same bits")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where the network runs")
    optimizer: Literal["adam", "adamw", "sgd"] = Field("adam", description="sgd has Nesterov momentum 0.9")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="after the warm-up")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="not applied to biases and norms")
    schedule: Literal["constant", "cosine"] = Field("constant", description="of the learning rate after the warm-up")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(0, description="steps of linearly rising learning rate")
    final_learning_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="fraction of the learning rate at which cosine ends"
    )
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999,
        description="of the averaged weights that are saved; the first steps average less; 0 saves the last weights",
    )
    gradient_clip: Annotated[float, Field(ge=0)] = Field(1.0, description="largest gradient norm; 0 does not clip")
    bf16: bool = Field(False, description="run the network in bfloat16 (autocast)")
    channels_last: bool = Field(True, description="store weights in the layout that convolutions run fastest in")
    prefetch: Annotated[int, Field(ge=0)] = Field(2, description="batches prepared ahead by a thread; 0: none")
    log_every: Annotated[int, Field(ge=1)] = Field(20, description="steps averaged in a row of metrics.csv")
    validate_every: Annotated[int, Field(ge=0)] = Field(0, description="steps between validations; 0: at the end")
    checkpoint_seconds: Annotated[float, Field(gt=0)] = Field(60.0, description="seconds between checkpoints")
    half_precision_weights: bool = Field(True, description="save the final weights as float16")

    @model_validator(mode="after")
    def _warmup_ends(self) -> "TrainingSettings":
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be fewer than steps ({self.steps})")
        return self
