"""Scenes for the face detector: people cut out of synthetic photographs, pasted at any size onto other backgrounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from facerecon.data.parsing_labels import FACE_CLASSES
from facerecon.networks.detector import LARGEST_FACE, REFERENCE_SIZE, SMALLEST_FACE, STRIDE
from facerecon.networks.image_crops import apply_matrix, crop_matrix, points_box, warp
from facerecon.training.tasks.augment import BORDERS, change_values
from facerecon.training.tasks.backgrounds import BACKGROUND_SIZE, TRAINING_PICTURES, make_background
from facerecon.training.tasks.photographs import PhotographStore
from facerecon.training.tasks.settings import DetectorSettings

# Faces are pasted a little smaller and larger than those that count, and the ones beyond are ignored in the loss: the
# network need not decide sharply where its range ends.
_SMALLEST_PASTED, _LARGEST_PASTED = 0.6 * SMALLEST_FACE, 1.25 * LARGEST_FACE
_LEAST_VISIBLE = 0.7  # share of a box inside the scene from which the face counts; between this and none it is ignored
_CENTRAL = 0.6  # cells where a face's Gaussian reaches this are told to be its centre
_BLOCKS = 4  # a scrambled face is cut into as many blocks along x and y


class Role(Enum):
    """What a pasted person is to the detector."""

    FACE = "face"  # to be found, if its size and place allow
    UNCLEAR = "unclear"  # half covered: neither finding nor missing it is wrong
    DECOY = "decoy"  # a scrambled face: background


@dataclass(frozen=True)
class Person:
    """A person in a scene: tight box (4,) of the landmarks, pixels; index: of the photograph in the store."""

    box: NDArray[np.float64]
    role: Role
    index: int


@dataclass(frozen=True)
class Scene:
    """image (S, S, 3) uint8; boxes (N, 4) pixels of faces to find; ignored (M, 4): areas that the loss leaves out;
    indices (N,): of the faces' photographs in the store."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    ignored: NDArray[np.float64]
    indices: NDArray[np.int64]


class SceneComposer:
    """Composes scenes from photographs of a store; the backgrounds are made once.

    pictures: names of the pictures in scikit-image that half of the backgrounds come from (`make_background`).
    """

    def __init__(
        self,
        store: PhotographStore,
        settings: DetectorSettings,
        seed: int,
        pictures: Sequence[str] = TRAINING_PICTURES,
    ):
        self._store, self._settings = store, settings
        rng = np.random.default_rng([seed, 2])
        self._backgrounds = [make_background(rng, pictures) for _ in range(settings.backgrounds)]

    def compose(self, rng: Generator, indices: Sequence[int]) -> Scene:
        """A random scene that shows at most the people of the photographs `indices`, the first of them if anyone."""
        settings = self._settings
        if rng.random() < settings.whole_photo:
            image, people = self._whole_photo(rng, indices[0])
        else:
            image, people = self._background(rng), []
            if rng.random() >= settings.no_person:
                many = rng.random() < settings.more_people and len(indices) > 1
                count = int(rng.integers(2, len(indices) + 1)) if many else 1
                for index in indices[:count]:
                    image = self._paste(rng, image, index, people, 0.9 * settings.size / count**0.5)
        scene = _sorted_boxes(people, settings.size)
        return Scene(change_values(rng, image, settings.photometric), *scene)

    def _background(self, rng: Generator) -> NDArray[np.uint8]:
        picture = self._backgrounds[rng.integers(len(self._backgrounds))]
        side = rng.uniform(0.4, 1.0) * BACKGROUND_SIZE
        centre = rng.uniform(side / 2, BACKGROUND_SIZE - side / 2, 2)
        matrix = crop_matrix(centre, side, self._settings.size, flip=rng.random() < 0.5)
        return warp(picture, matrix, self._settings.size)

    def _whole_photo(self, rng: Generator, index: int) -> tuple[NDArray[np.uint8], list[Person]]:
        matrix, box = self._placement(rng, index, 0.9 * self._settings.size)
        border = BORDERS[rng.integers(len(BORDERS) - 1)]  # no reflection: it would show a second face
        image = warp(self._store.image(index), matrix, self._settings.size, border)
        return image, [Person(box, Role.FACE, index)]

    def _paste(
        self, rng: Generator, scene: NDArray[np.uint8], index: int, people: list[Person], largest: float
    ) -> NDArray[np.uint8]:
        """The scene with the person of a photograph in front; `people` gains that person and loses those it covers."""
        matrix, box = self._placement(rng, index, largest)
        photo, labels = self._store.image(index), self._store.labels(index)
        decoy = rng.random() < self._settings.faceless
        if decoy:
            photo = _scramble(rng, photo, np.isin(labels, FACE_CLASSES))
        size, matte = self._settings.size, self._store.matte(index)
        matte = filled_matte(labels, self._store.landmarks[index]) if matte is None else matte
        matte = cv2.GaussianBlur(warp(matte, matrix, size, cv2.BORDER_CONSTANT), (0, 0), 0.7)
        people[:] = [_behind(person, matte) for person in people]
        people.append(Person(box, Role.DECOY if decoy else Role.FACE, index))
        alpha = matte[..., None].astype(np.float32) / 255
        person = warp(photo, matrix, size, cv2.BORDER_CONSTANT).astype(np.float32)
        return (scene + alpha * (person - scene)).astype(np.uint8)

    def _placement(self, rng: Generator, index: int, largest: float) -> tuple[NDArray, NDArray]:
        """Photo-to-scene matrix and the face's box in the scene. largest: about its longer side at most, pixels."""
        size = self._settings.size
        landmarks = self._store.landmarks[index]
        x0, y0, x1, y1 = points_box(landmarks)
        longest = max(x1 - x0, y1 - y0, 1.0)
        side = np.exp(rng.uniform(np.log(_SMALLEST_PASTED), np.log(min(_LARGEST_PASTED, largest))))
        scale = side / longest
        # Where the face's centre goes: anywhere, now and then partly outside.
        reach = rng.uniform(-0.1, 0.45) * side
        target = rng.uniform(min(reach, size / 2), max(size - reach, size / 2), 2)
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) - (target - size / 2) / scale
        matrix = crop_matrix(centre, size / scale, size, 0.0)
        turn = crop_matrix(target, size, size, rng.uniform(-0.35, 0.35))
        turn[:, 2] += target - size / 2
        matrix = turn @ np.vstack([matrix, [0, 0, 1]])
        if rng.random() < 0.5:
            matrix[0] = -matrix[0]
            matrix[0, 2] += size
        return matrix, points_box(apply_matrix(matrix, landmarks.astype(np.float64)))


def filled_matte(labels: NDArray[np.uint8], landmarks: NDArray) -> NDArray[np.uint8]:
    """Where a person is (H, W), 0 or 255, by parsing classes (H, W) and landmarks (68, 2) pixels alone.

    What is held before a face has the class of the background: holes and the landmarks' hull belong to the person.
    """
    person = np.where(labels > 0, np.uint8(255), np.uint8(0))
    hull = cv2.convexHull(np.round(landmarks).astype(np.int32))
    cv2.fillConvexPoly(person, hull, 255)
    outlines, _ = cv2.findContours(person, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(person, outlines, -1, 255, cv2.FILLED)
    return person


def detector_targets(scene: Scene, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """What the detector should give for a scene of `size` pixels, on the grid (h, w) of cells of STRIDE pixels.

    Heat (h, w): 1 in the cells about a face's centre, a Gaussian around them; -1 where ignored. Geometry (h, w, 4): log
    of width and height over REFERENCE_SIZE, and the centre from the cell's corner, in cells. Weight (h, w) of the
    geometry: 1 at the centre, less beside, 0 elsewhere. As Zhou et al. 2019, section 3, but that every cell near the
    centre may tell of the face (Tian et al. 2019): the middle of a turned head's landmarks is no place that shows.
    """
    cells = size // STRIDE
    heat = np.zeros((cells, cells), np.float32)
    geometry = np.zeros((cells, cells, 4), np.float32)
    weight = np.zeros((cells, cells), np.float32)
    row, column = np.mgrid[:cells, :cells]
    for x0, y0, x1, y1 in scene.ignored:
        inside = (row >= y0 // STRIDE) & (row <= y1 // STRIDE) & (column >= x0 // STRIDE) & (column <= x1 // STRIDE)
        heat[inside] = -1
    for x0, y0, x1, y1 in scene.boxes:
        centre_x, centre_y = (x0 + x1) / 2 / STRIDE, (y0 + y1) / 2 / STRIDE
        cell_x, cell_y = int(centre_x), int(centre_y)
        spread = np.maximum(np.array([y1 - y0, x1 - x0]) / STRIDE * 0.12, 0.5)
        gauss = np.exp(-0.5 * (((row - cell_y) / spread[0]) ** 2 + ((column - cell_x) / spread[1]) ** 2))
        target = np.where(gauss >= _CENTRAL, 1.0, gauss)
        np.maximum(heat, target, out=heat, where=gauss > 0.02)
        better = (gauss >= 0.3) & (gauss > weight)
        weight = np.where(better, gauss, weight).astype(np.float32)
        geometry[better, 0] = np.log((x1 - x0) / REFERENCE_SIZE)
        geometry[better, 1] = np.log((y1 - y0) / REFERENCE_SIZE)
        geometry[better, 2] = centre_x - column[better]
        geometry[better, 3] = centre_y - row[better]
    return heat, geometry, weight


def _behind(person: Person, matte: NDArray[np.uint8]) -> Person:
    """The person as it is after another, of the given matte (0-255), was pasted in front."""
    left, top, right, bottom = np.clip(person.box, 0, len(matte)).astype(int)
    covered = matte[top:bottom, left:right]
    if person.role is Role.FACE and covered.size and covered.mean() > 0.3 * 255:
        # All but gone is background; in between it is unclear.
        return replace(person, role=Role.DECOY if covered.mean() > 0.9 * 255 else Role.UNCLEAR)
    return person


def _sorted_boxes(people: list[Person], size: int) -> tuple[NDArray, NDArray, NDArray]:
    """Boxes (N, 4) to find, areas (M, 4) to ignore, and the photographs (N,) of the faces to find."""
    boxes, ignored, indices = [], [], []
    for person in people:
        box = person.box
        extent = box[2:] - box[:2]
        inside = np.clip(box, 0, size)
        visible = (inside[2:] - inside[:2]).prod() / max(extent.prod(), 1e-9)
        known = SMALLEST_FACE <= extent.max() <= LARGEST_FACE
        if person.role is Role.FACE and known and visible >= _LEAST_VISIBLE:
            boxes.append(box)
            indices.append(person.index)
        elif person.role is not Role.DECOY and visible > 0:
            ignored.append(inside)
    return np.array(boxes).reshape(-1, 4), np.array(ignored).reshape(-1, 4), np.array(indices, np.int64)


def _scramble(rng: Generator, photo: NDArray[np.uint8], face: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The photograph with the blocks of its face's bounding box shuffled: all of a face but its arrangement."""
    rows, columns = np.flatnonzero(face.any(1)), np.flatnonzero(face.any(0))
    if len(rows) < _BLOCKS or len(columns) < _BLOCKS:
        return photo
    tall, wide = (int(lines[-1] - lines[0] + 1) // _BLOCKS for lines in (rows, columns))
    if tall == 0 or wide == 0:
        return photo
    top, left = rows[0], columns[0]
    region = photo[top : top + tall * _BLOCKS, left : left + wide * _BLOCKS]
    blocks = region.reshape(_BLOCKS, tall, _BLOCKS, wide, 3).swapaxes(1, 2).reshape(-1, tall, wide, 3)
    blocks = blocks[rng.permutation(len(blocks))].reshape(_BLOCKS, _BLOCKS, tall, wide, 3).swapaxes(1, 2)
    scrambled = photo.copy()
    scrambled[top : top + tall * _BLOCKS, left : left + wide * _BLOCKS] = blocks.reshape(region.shape)
    return scrambled
