"""Published face models without joints: linear in their coefficients, or bilinear."""

import torch
from torch import Tensor

from facerecon.morphable.face_model import FaceModel
from facerecon.morphable.source_model import ConvertedModel


class PublishedFaceModel(FaceModel):
    """A linear model on its publisher's mesh, or a bilinear one: then a buffer `interaction` (I, E, V, 3), mm, holds
    what each product of an identity and an expression coefficient adds.
    """

    def __init__(self, model: ConvertedModel, sha256: str = ""):
        source = model.source
        super().__init__(
            source.name,
            model.topology,
            1,
            sha256,
            (source.mean, source.identity, source.expression),
            (source.albedo_mean, source.albedo),
            (model.identity_mirror, model.expression_mirror),
        )
        if source.interaction is None:
            self.interaction = None
        else:
            self._keep("interaction", source.interaction)

    def decode(self, identity: Tensor, expression: Tensor) -> Tensor:
        """Vertices (B, V, 3), mm in the head frame, of coefficients identity (B, I) and expression (B, E)."""
        vertices = self._add_offsets(identity, expression)
        if self.interaction is None:
            return vertices
        products = (identity[:, :, None] * expression[:, None]).flatten(1)
        return vertices + (products @ self.interaction.flatten(0, 1).flatten(1)).unflatten(-1, (-1, 3))

    def jacobian(self, identity: Tensor, expression: Tensor, vertices: Tensor) -> Tensor:
        """As every model's; for a bilinear one it depends on the coefficients."""
        linear = super().jacobian(identity, expression, vertices)
        if self.interaction is None:
            return linear
        products = self.interaction[:, :, vertices]
        by_identity = torch.tensordot(products, expression, ([1], [0]))
        by_expression = torch.tensordot(products, identity, ([0], [0]))
        return linear + torch.cat([by_identity, by_expression]).permute(1, 2, 0)
