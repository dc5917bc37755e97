"""Published face models as plain numpy arrays in this library's units and frame: as read, and completed."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from facerecon.morphable.topology import MovingContour, Topology, weld_copies


@dataclass(frozen=True)
class Skinning:
    """Joints that move the vertices of a model with V vertices and J joints by linear blend skinning.

    joint_names: J names, the root first; its rotation is the camera's and is never applied.
    parents: (J,) int64 index of each joint's parent, smaller than its own; -1 for the root.
    joint_regressor: (J, V): the joints of unposed vertices in the publisher's frame. Its rows sum to about 1; where
        they do not, joints do not move along with the origin (`SourceModel.joint_offsets`).
    weights: (V, J), rows summing to 1.
    pose_correctives: (9 (J - 1), V, 3) mm or None: offsets for each entry, row by row, of every joint's rotation matrix
        minus the identity, without the root's.
    """

    joint_names: tuple[str, ...]
    parents: NDArray[np.int64]
    joint_regressor: NDArray[np.float32]
    weights: NDArray[np.float32]
    pose_correctives: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class SourceModel:
    """A published face model of V vertices, I identity, E expression and A albedo components.

    Head frame: mm, y up, z out of the face, +x the subject's left; the origin is the mean of the mean face's 68
    landmarks, or of its vertices while the model has none. Identity and albedo coefficients are standard normal under
    the publisher's prior; so are expression coefficients, unless the reader says that they are blendshape weights.

    mean: (V, 3) float32. triangles: (F, 3) int32, counter-clockwise seen from outside.
    identity: (I, V, 3), expression: (E, V, 3) float32, mm a unit of coefficient. E may be 0.
    albedo_mean: (V, 3), albedo: (A, V, 3) float32 linear RGB, or None.
    landmark_triangles: (68,) int64, landmark_barycentric: (68, 3) float32, the iBUG landmarks, or None.
    contour: the jaw landmarks that move with yaw, or None.
    start_landmarks: (7, 3) in NoW's order or (68, 3) iBUG, mm on the mean face in this model's frame, NaN rows where
        unknown, or None: points that the publisher names, from which registration may start.
    uv: (V, 2) float32, u right and v up in [0, 1], or None.
    seam_copies: (C,) int64. A vertex on a seam of the publisher's UV chart is there once for each of its places in the
        chart: the last C vertices are copies of these, and always move with them.
    skinning: joints and their weights, or None.
    interaction: (I, E, V, 3) float32 mm or None: what a bilinear model adds to the linear sum, for each product of an
        identity and an expression coefficient.
    sources: name of each file read -> SHA-256. notes: what users of this model should know, a line each.
    origin: (3,) mm, where this model's origin lies seen from the publisher's.
    """

    name: str
    licence: str
    mean: NDArray[np.float32]
    triangles: NDArray[np.int32]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    albedo_mean: NDArray[np.float32] | None = None
    albedo: NDArray[np.float32] | None = None
    landmark_triangles: NDArray[np.int64] | None = None
    landmark_barycentric: NDArray[np.float32] | None = None
    contour: MovingContour | None = None
    start_landmarks: NDArray[np.float64] | None = None
    uv: NDArray[np.float32] | None = None
    seam_copies: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    skinning: Skinning | None = None
    interaction: NDArray[np.float32] | None = None
    sources: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    origin: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    @property
    def unsplit(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The mean face's vertices (V - C, 3), mm, and triangles (F, 3) without the copies on texture seams."""
        kept = len(self.mean) - len(self.seam_copies)
        return self.mean[:kept].astype(np.float64), weld_copies(self.triangles, len(self.mean), self.seam_copies)

    @property
    def joint_offsets(self) -> NDArray[np.float64]:
        """Offsets (J, 3), mm, that joints regressed from vertices in this frame need to be the publisher's."""
        sums = self.skinning.joint_regressor.sum(1, dtype=np.float64)
        return (sums[:, None] - 1) * self.origin

    def decode(self, identity: NDArray, expression: NDArray) -> NDArray[np.float64]:
        """Unposed vertices (V, 3), mm, of coefficients identity (I,) and expression (E,)."""
        offsets = np.tensordot(identity, self.identity, 1) + np.tensordot(expression, self.expression, 1)
        if self.interaction is not None:
            offsets = offsets + np.tensordot(expression, np.tensordot(identity, self.interaction, 1), 1)
        return self.mean.astype(np.float64) + offsets

    def landmarks(self, vertices: NDArray) -> NDArray:
        """The 68 landmarks (68, 3) on vertices (V, 3); ValueError if the model has none."""
        if self.landmark_triangles is None or self.landmark_barycentric is None:
            raise ValueError(f"{self.name} has no landmarks")
        corners = vertices[self.triangles[self.landmark_triangles]]
        return (corners * self.landmark_barycentric[..., None]).sum(1)

    def with_landmarks(self, triangles: NDArray, barycentric: NDArray) -> "SourceModel":
        """This model with 68 landmarks, by triangle (68,) and barycentric (68, 3), and its origin moved to their mean.

        Raises ValueError for other shapes or a triangle that is not there.
        """
        triangles = np.asarray(triangles, np.int64)
        if triangles.shape != (68,) or np.shape(barycentric) != (68, 3):
            raise ValueError("68 triangles and (68, 3) barycentrics are needed")
        if triangles.min() < 0 or triangles.max() >= len(self.triangles):
            raise ValueError(f"the model has triangles 0 to {len(self.triangles) - 1}")
        placed = replace(
            self, landmark_triangles=triangles, landmark_barycentric=np.asarray(barycentric, dtype=np.float32)
        )
        mean = self.mean.astype(np.float64)
        moved = placed.landmarks(mean).mean(0)
        start = None if self.start_landmarks is None else self.start_landmarks - moved
        return replace(
            placed, mean=(mean - moved).astype(np.float32), origin=self.origin + moved, start_landmarks=start
        )


@dataclass(frozen=True)
class ConvertedModel:
    """A published model with all that this library needs of one: what is stored, and what face models are made of.

    source: with landmarks, uv and albedo. mirror: (V,) int64 id of the vertex nearest to each one's mirror image.
    regions: name -> (V,) bool, the names of topology.REGIONS; a vertex is in one at most.
    identity_mirror: (I, I), expression_mirror: (E, E) float32: the coefficients c of a mirrored face are about c @ it.
    completed: part (landmarks, uv, albedo, mirror, regions) -> where it comes from, in words.
    """

    source: SourceModel
    mirror: NDArray[np.int64]
    regions: dict[str, NDArray[np.bool_]]
    identity_mirror: NDArray[np.float32]
    expression_mirror: NDArray[np.float32]
    completed: dict[str, str]

    @property
    def topology(self) -> Topology:
        """The mesh."""
        return Topology(
            triangles=self.source.triangles,
            uv=self.source.uv,
            mirror=self.mirror,
            landmark_triangles=self.source.landmark_triangles,
            landmark_barycentric=self.source.landmark_barycentric,
            regions=self.regions,
            contour=self.source.contour,
            seam_copies=self.source.seam_copies,
        )
