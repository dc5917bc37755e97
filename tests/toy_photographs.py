"""Toy photographs in the layout of the synthetic ones: a drawn face that turns a little, with exact landmarks."""

from pathlib import Path

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from facerecon.provenance import provenance_record, write_hdf5
from facerecon.synthesis.photographs import KIND, SCHEMA_VERSION

SIZE = 96
SUBJECTS, PHOTOS = 8, 3


def toy_mean_landmarks() -> NDArray:
    """(68, 3) mm: an egg-shaped jaw, brows, nose, eyes and mouth; x the subject's left, y up, z out of the face."""
    jaw_angle = np.linspace(np.pi, 2 * np.pi, 17)
    jaw = np.column_stack([70 * np.cos(jaw_angle), 75 * np.sin(jaw_angle) + 15, -60 * np.abs(np.cos(jaw_angle))])
    brow_x = np.linspace(-52, -14, 5)
    right_brow = np.column_stack([brow_x, np.full(5, 52.0), np.full(5, 5.0)])
    bridge = np.column_stack([np.zeros(4), np.linspace(32, 2, 4), np.linspace(12, 30, 4)])
    nostrils = np.column_stack([np.linspace(-14, 14, 5), np.full(5, -8.0), np.array([8, 14, 18, 14, 8])])
    eye = np.array([[-14, 0], [-6, 5], [4, 5], [13, 0], [4, -4], [-6, -4]], float)
    right_eye = np.column_stack([eye + np.array([-32, 32]), np.zeros(6)])
    outer_angle = np.linspace(np.pi, -np.pi, 13)[:-1]
    outer = np.column_stack([25 * np.cos(outer_angle), 10 * np.sin(outer_angle) - 36, 10 + 0 * outer_angle])
    inner_angle = np.linspace(np.pi, -np.pi, 9)[:-1]
    inner = np.column_stack([18 * np.cos(inner_angle), 4 * np.sin(inner_angle) - 36, 9 + 0 * inner_angle])

    def mirrored(points: NDArray, order: list[int]) -> NDArray:
        return (points * [-1, 1, 1])[order]

    left_brow = mirrored(right_brow, [4, 3, 2, 1, 0])
    left_eye = mirrored(right_eye, [3, 2, 1, 0, 5, 4])
    return np.concatenate([jaw, right_brow, left_brow, bridge, nostrils, right_eye, left_eye, outer, inner])


def draw_photograph(rng: np.random.Generator, skin: NDArray, points: NDArray) -> tuple[NDArray, NDArray]:
    """A drawn photograph (SIZE, SIZE, 3) and its labels (SIZE, SIZE) of 68 points in pixels."""
    image = np.full((SIZE, SIZE, 3), rng.integers(0, 255, 3), np.uint8)
    labels = np.zeros((SIZE, SIZE), np.uint8)
    outline = np.concatenate([points[:17], points[[26, 24, 19, 17]] - [0, 12]]).astype(np.int32)
    parts = [
        (outline, 1, skin),
        (points[17:22], 3, skin // 3),
        (points[22:27], 2, skin // 3),
        (points[36:42], 5, (240, 240, 240)),
        (points[42:48], 4, (240, 240, 240)),
        (points[27:36], 10, skin * 0.8),
        (points[48:60], 12, (180, 60, 70)),
        (points[60:68], 11, (60, 10, 10)),
    ]
    for polygon, label, colour in parts:
        corners = [np.round(polygon).astype(np.int32)]
        cv2.fillPoly(image, corners, tuple(int(value) for value in colour))
        cv2.fillPoly(labels, corners, label)
    return image, labels


def write_toy_photographs(
    folder: Path, subjects: int = SUBJECTS, photos: int = PHOTOS, seed: int = 0, first_subject: int = 0
) -> Path:
    """One shard in the layout of `facerecon data synthesize`."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    names, landmarks, numbers, rotations = [], [], [], []
    mean = toy_mean_landmarks()
    for subject in range(subjects):
        skin = rng.integers(60, 230, 3)
        width = rng.uniform(0.85, 1.15)
        for photo in range(photos):
            yaw = rng.uniform(-0.5, 0.5)
            turned = mean[:, 0] * width * np.cos(yaw) + mean[:, 2] * np.sin(yaw)
            scale, shift = rng.uniform(0.25, 0.38), SIZE / 2 + rng.uniform(-6, 6, 2)
            points = np.column_stack([turned, -mean[:, 1]]) * scale + shift
            image, labels = draw_photograph(rng, skin, points)
            name = f"{first_subject + subject:07d}_{photo:02d}"
            cv2.imwrite(str(folder / "images" / f"{name}.jpg"), image[..., ::-1])
            cv2.imwrite(str(folder / "labels" / f"{name}.png"), labels)
            names.append(name.encode())
            landmarks.append(points)
            numbers.append(subject)
            rotations.append([0, yaw, 0])
    with h5py.File(folder / "ground_truth.h5", "w") as file:
        file.attrs.update(schema_version=SCHEMA_VERSION, kind=KIND, face_model_sha256="f" * 64, vertex_unit_mm=0.01)
        write_hdf5(file, provenance_record("synthesis.photographs", {"seed": seed, "size": SIZE}, seed=seed))
        file["id"] = np.array(names)
        file["subject"] = first_subject + np.array(numbers, np.int64)
        file["landmarks"] = np.array(landmarks, np.float32)
        file["landmarks_visible"] = np.ones((len(names), 68), bool)
        people = np.random.default_rng([seed, 1])
        file["identity"] = people.normal(size=(subjects, 80)).astype(np.float32)[numbers]
        file["sex"] = people.random(subjects).astype(np.float32)[numbers]
        file["age"] = people.uniform(5, 80, subjects).astype(np.float32)[numbers]
        file["rotation"] = np.array(rotations, np.float32)
        file["glasses"] = np.arange(len(names)) % 4 == 1
        file["occluded"] = np.arange(len(names)) % 5 == 4
        file["melanin"] = people.uniform(0.05, 2.0, subjects).astype(np.float32)[numbers]
        file["face_vertices"] = np.zeros((len(names), 2, 3), np.int16)
    return folder
