"""What follows the landmark network's first guess: heat maps, or steps that look again where it points."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facerecon.networks.convolutions import conv_norm, resize_to


class FinePyramid(nn.Module):
    """Features at a quarter of the crop's size that know the context of the coarser ones (Lin et al. 2017).

    width: channels at a quarter of the size, as in `face_trunk`; channels: of the result.
    """

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(factor * width, channels, 1) for factor in (1, 2, 4))
        self.smooth = nn.ModuleList(conv_norm(channels, channels) for _ in range(2))

    def forward(self, quarter: Tensor, eighth: Tensor, sixteenth: Tensor) -> Tensor:
        """Trunk features at 1/4, 1/8 and 1/16 of the crop -> (B, channels, S / 4, S / 4)."""
        features = self.lateral[2](sixteenth)
        for level, lateral, smooth in ((eighth, 1, 1), (quarter, 0, 0)):
            side = self.lateral[lateral](level)
            features = self.smooth[smooth](side + resize_to(features, side))
        return features


class SoftArgmax(nn.Module):
    """One heat map a point; the point is its centre of mass (Sun et al. 2018), its spread tells of its error."""

    def __init__(self, channels: int, points: int):
        super().__init__()
        self.heat = nn.Conv2d(channels, points, 1)
        self.spread_gain = nn.Parameter(torch.full((points,), 0.5))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features: (B, C, H, W) of the crop -> points (B, P, 2) in crop units, and what their spread adds to the
        logarithm of their expected errors (B, P)."""
        height, width = features.shape[-2:]
        heat = self.heat(features).float().flatten(2).softmax(2).unflatten(2, (height, width))
        row, column = _cell_centres(height, heat), _cell_centres(width, heat)
        along_x, along_y = heat.sum(2), heat.sum(3)
        x, y = (along_x * column).sum(2), (along_y * row).sum(2)
        variance = (along_x * (column - x[..., None]).square()).sum(2)
        variance = variance + (along_y * (row - y[..., None]).square()).sum(2)
        return torch.stack([x, y], 2), self.spread_gain * 0.5 * torch.log(variance + 1e-6)


class RefinementStep(nn.Module):
    """Looks at the features around each point and moves all points by what it sees at all of them.

    A cascaded regression (Xiong & De la Torre 2013) on learned features: hidden points follow those that are seen.
    """

    def __init__(self, channels: int, points: int, tokens: int = 32):
        super().__init__()
        self.look = nn.Conv2d(channels, tokens, 3, padding=1)
        self.who = nn.Parameter(torch.zeros(points, tokens))
        self.move = nn.Linear(points * tokens, 3 * points)
        with torch.no_grad():
            self.move.weight.mul_(0.1)
            self.move.bias.zero_()

    def forward(self, features: Tensor, points: Tensor, log_error: Tensor) -> tuple[Tensor, Tensor]:
        """features: (B, C, H, W) of the crop. points (B, P, 2) in crop units and log_error (B, P) -> better ones.

        Gradients do not flow back through the place that is looked at.
        """
        # Looking everywhere and then sampling is the same as sampling a patch around each point, and cheaper.
        # Crop units are grid_sample's: -1 and 1 at the outer edges.
        places = points.detach().float()[:, :, None]
        seen = F.grid_sample(self.look(features).float(), places, "bilinear", "border", align_corners=False)
        tokens = F.relu(seen[..., 0].transpose(1, 2) + self.who)
        change = self.move(tokens.flatten(1)).float().unflatten(1, (points.shape[1], 3))
        return points.detach() + change[..., :2], log_error + change[..., 2]


def _cell_centres(count: int, like: Tensor) -> Tensor:
    """Centres (count,) in crop units of equal cells from edge to edge."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) * (2.0 / count) - 1.0
