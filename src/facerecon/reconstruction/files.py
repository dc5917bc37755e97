"""The files of one reconstruction."""

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facerecon.artefacts import atomic_folder
from facerecon.data.images import write_image
from facerecon.geometry.glb_files import write_glb
from facerecon.geometry.obj_files import write_obj
from facerecon.morphable.topology import Topology
from facerecon.provenance import write_folder
from facerecon.reconstruction.face import Reconstruction
from facerecon.render.overlay import draw_landmarks, draw_overlay

OVERLAY_SIDE = 1600
"""Longest side of overlay.png, pixels."""


def write_reconstruction(
    folder: Path,
    image: NDArray[np.uint8],
    reconstruction: Reconstruction,
    topology: Topology,
    record: Mapping[str, object],
) -> None:
    """Write a reconstruction's folder, whole or not at all; an older one of that name is replaced.

    mesh.obj, mesh.mtl, texture.png; mesh.glb (texture inside); albedo.png; overlay.png: the mesh over the photograph
    (at most 1600 pixels wide or high), with the 68 points found; reconstruction.npz (docs/data.md). record: provenance.
    """
    vertices = reconstruction.vertices.numpy()
    texture = reconstruction.texture
    with atomic_folder(folder) as temporary:
        write_obj(temporary / "mesh.obj", vertices, topology.triangles, topology.uv, texture.texture)
        write_glb(temporary / "mesh.glb", vertices, topology.triangles, topology.uv, texture.texture)
        write_image(temporary / "albedo.png", texture.albedo)
        write_image(temporary / "overlay.png", draw_reconstruction(image, reconstruction, topology))
        np.savez(temporary / "reconstruction.npz", **_arrays(reconstruction, topology, record))
        write_folder(temporary, record)


DOT_RADIUS = 0.009
"""Radius of a landmark's dot over the larger side of the landmarks' box."""


def draw_reconstruction(
    image: NDArray[np.uint8], reconstruction: Reconstruction, topology: Topology, opacity: float = 0.65
) -> NDArray[np.uint8]:
    """The photograph, shrunk to at most 1600 pixels, with the mesh in clay and the 68 points found over it."""
    height, width = image.shape[:2]
    ratio = min(1.0, OVERLAY_SIDE / max(height, width))
    shape = max(1, round(width * ratio)), max(1, round(height * ratio))
    picture = cv2.resize(image, shape, interpolation=cv2.INTER_AREA) if ratio < 1.0 else image
    scale = np.array([shape[0] / width, shape[1] / height], np.float32)
    pixels = reconstruction.pixels.numpy() * [*scale, 1.0]
    centre = reconstruction.centre * scale
    drawn = draw_overlay(
        picture,
        pixels.astype(np.float32),
        topology.triangles,
        opacity=opacity,
        focal=reconstruction.focal * float(scale[0]),
        centre=(float(centre[0]), float(centre[1])),
    )
    landmarks = reconstruction.face.landmarks * scale
    return draw_landmarks(drawn, landmarks, radius=max(0.7, float(np.ptp(landmarks, axis=0).max()) * DOT_RADIUS))


def _arrays(reconstruction: Reconstruction, topology: Topology, record: Mapping[str, object]) -> dict[str, NDArray]:
    parameters = reconstruction.parameters
    return {
        "vertices": reconstruction.vertices.numpy(),
        "triangles": topology.triangles,
        "uv": topology.uv,
        "landmarks_2d": reconstruction.face.landmarks,
        "landmarks_confidence": reconstruction.face.confidence,
        "landmarks_3d": reconstruction.landmarks_3d,
        "box": reconstruction.face.box,
        "identity": parameters.identity[0].numpy(),
        "expression": parameters.expression[0].numpy(),
        "albedo": parameters.albedo[0].numpy(),
        "light": parameters.light[0].numpy(),
        "rotation": parameters.rotation[0].numpy(),
        "translation": parameters.translation[0].numpy(),
        "focal": np.float32(reconstruction.focal),
        "centre": reconstruction.centre.astype(np.float32),
        "provenance": np.array(json.dumps(dict(record), sort_keys=True)),
    }
