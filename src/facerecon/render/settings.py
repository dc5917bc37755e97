"""Settings of rendering. Imports without torch."""

from typing import Literal

Renderer = Literal["auto", "cpu", "triton", "pytorch3d"]
"""What renders: a backend of facerecon.render.backends, or `auto`, the one that belongs to the tensors' device."""
