"""From one photograph to a textured 3D face and its files."""
