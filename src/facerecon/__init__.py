"""facerecon: 3D faces with complete, relightable textures from single photographs."""

__version__ = "0.1.0"
