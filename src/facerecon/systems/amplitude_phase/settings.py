"""Settings of amplitude_phase: the `task` section of its training settings. Imports without torch.

Defaults are those of the paper where it prints them (systems with small networks change the backbone and batch alone).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from facerecon.render.settings import Renderer

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class NetworkSettings(BaseModel):
    """What inference needs to know; written on the weights' card."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: Literal["small", "resnet18", "resnet50"] = Field(
        "small", description="small sees and renders 112 pixels, the ResNets 224; the paper has resnet50"
    )
    camera: Literal["perspective", "scaled_orthographic"] = Field(
        "perspective",
        description="focal length 1015 px at 224 px, or eq. 2's with scale 1015 px / distance",
    )


class LossWeights(BaseModel):
    """Weights of the loss terms; 0 leaves a term out (and identity 0 loads no recognition network)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photometric: Weight = Field(3.0, description="colour distance in the visible face (eq. 4)")
    landmark: Weight = Field(2.4e-3, description="wing loss of the 68 landmarks (eq. 5)")
    identity: Weight = Field(0.24, description="1 - cosine of recognition features (eq. 6)")
    regularisation: Weight | None = Field(
        None, description="squared coefficients (eq. 7); empty: 4e-4 for printed, 3e-4 for deng"
    )
    frequency: Weight = Field(0.1, description="amplitude and phase (eq. 15); not printed, our choice, not yet ablated")
    fit: Weight = Field(
        1.0,
        description="our guide, not the paper's, at step 0: distance to the shard's pose and shape (the true shape on "
        "synthetic photographs, the landmark fit's on others); 0 trains by the paper's losses alone",
    )


class RegionWeights(BaseModel):
    """W of eq. 4 by parsing class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    eyes: Weight = Field(1.5, description="eyes")
    mouth: Weight = Field(1.2, description="inside of the mouth and lips")
    nose: Weight = Field(1.5, description="nose")
    skin: Weight = Field(1.0, description="skin and brows")


class AugmentationSettings(BaseModel):
    """Random changes of the training crops; landmarks, labels and fits follow."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip: bool = Field(True, description="mirror half of the crops")
    shift: Annotated[float, Field(ge=0, le=32)] = Field(6.0, description="largest shift, pixels at 224")
    scale: Annotated[float, Field(ge=0, le=0.3)] = Field(0.04, description="largest relative change of scale")
    colour: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.1, description="largest change of gain, overall and a channel"
    )


class Settings(BaseModel):
    """Everything that a training of amplitude_phase reads besides the training loop's settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkSettings = Field(NetworkSettings(), description="what is trained")
    initial_weights: str | None = Field(
        None,
        description="to start from: ImageNet weights for a ResNet; for small a recognition network's, or `carried`; "
        "empty: random",
    )
    weights: LossWeights = Field(LossWeights(), description="of the loss terms")
    regions: RegionWeights = Field(RegionWeights(), description="of the photometric loss")
    regularisation: Literal["printed", "deng"] = Field(
        "printed", description="inner weights: 1e-4, 0.8e-4, 0.1, light 0.01 as printed, or Deng et al.'s 1, 0.8, 0.017"
    )
    amplitude: Literal["modulus", "printed"] = Field(
        "modulus", description="(|F_I| - |F_r|)^2, or eq. 13's |F_I - F_r|^2, which is the pixel MSE"
    )
    phase: Literal["atan2", "printed"] = Field("atan2", description="angle with wrapped differences, or arctan(b / a)")
    phase_floor: Annotated[float, Field(ge=0)] = Field(1e-2, description="amplitude below which phase gradients fade")
    fit_steps: Annotated[int, Field(ge=0)] = Field(
        1000, description="step at which the fit term's weight, falling linearly, is 0; a shorter run ends guided"
    )
    augmentation: AugmentationSettings = Field(AugmentationSettings(), description="of the training crops")
    validation_photographs: Annotated[int, Field(ge=0)] = Field(
        64, description="photographs of the validation split used; 0 validates nothing"
    )
    recognition: str | None = Field(None, description="recognition weights file; empty: those carried")
    renderer: Renderer | None = Field(None, description="what renders; empty: what the run's `renderer` says")

    @model_validator(mode="after")
    def _carried_weights_fit(self) -> "Settings":
        if self.initial_weights == "carried" and self.network.backbone != "small":
            raise ValueError(
                f"no initial weights of a {self.network.backbone} are carried: set initial_weights to a file, or empty"
            )
        return self
