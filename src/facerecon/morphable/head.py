"""Random adult heads: MakeHuman's shape targets under a prior over phenotypes, local changes and asymmetry."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from facerecon.morphable.head_data import HeadData, load_head_data

YOUNG_YEARS, OLD_YEARS = 25.0, 90.0  # ages of MakeHuman's "young" and "old" targets
ANCESTRIES = ("african", "asian", "caucasian")

# Standard deviation of local changes by category (1 = the target's full effect), and targets that look unnatural or
# move the whole head at that strength.
LOCAL_SPREAD = {
    "cheek": 0.25,
    "chin": 0.22,
    "ears": 0.20,
    "eyebrows": 0.20,
    "eyes": 0.22,
    "forehead": 0.15,
    "mouth": 0.25,
    "nose": 0.22,
    "head": 0.20,
}
LOCAL_SPREAD_FACTOR = {
    "forehead-nubian-incr": 0.6,
    "head-scale-vert-incr": 0.6,
    "chin-height-incr": 0.6,
    "nose-point-up": 0.6,
    "forehead-scale-vert-incr": 0.6,
    "eyebrows-trans-forward": 0.6,
    "head-trans-forward": 0.0,
    "head-trans-up": 0.0,
    "head-trans-out": 0.0,
    "head-angle-out": 0.0,
}
SIDEWAYS_FACTOR = 0.2  # of targets "...-trans-out", which push a midline feature to one side
SIDE_DIFFERENCE = 0.15  # spread of each side about the pair's common value, relative to that value's spread
ASYMMETRY_SPREAD = 0.12


@dataclass(frozen=True)
class HeadIdentity:
    """What makes one head.

    sex: 1 male, 0 female. age: years, from 18. ancestry: (3,) shares african, asian, caucasian, summing to 1.
    muscle, weight, height, proportions: [0, 1] between MakeHuman's extremes. local: (n,) in [-1, 1], one a local
    change. asymmetry: (m,) >= 0, one an asymmetry target.
    """

    sex: float
    age: float
    ancestry: np.ndarray
    muscle: float
    weight: float
    height: float
    proportions: float
    local: np.ndarray
    asymmetry: np.ndarray


class HeadGenerator:
    """MakeHuman heads in the open face model's frame (mm; origin at the mean of the mean face's 68 landmarks).

    template: (V, 3) float32. quads: part -> (n, 4) int32 with the parts skin, eye_sockets, mouth_cavity, eye_left,
    eye_right, teeth_upper, teeth_lower and tongue (left is the subject's), oriented outwards. lash_quads: (n, 4).
    mirror: (V,). masks: face, lips, ears, eyelids, inside_mouth -> (V,) in [0, 1]. base_ids: (V,) MakeHuman vertex ids.
    face_vertices: (Vc,) head vertex of each coarse vertex of the face model; face_is_skin: (Vc,) False on the eyeballs;
    face_mean: (Vc, 3) the mean face, onto which heads are aligned. *_names: labels of the targets.
    """

    def __init__(self, data: HeadData):
        self.template = data.template.astype(np.float32)
        self.quads, self.lash_quads, self.mirror, self.masks = data.quads, data.lash_quads, data.mirror, data.masks
        self.base_ids = data.base_ids
        self.face_vertices, self.face_is_skin, self.face_mean = data.face_vertices, data.face_is_skin, data.face_mean
        self.expression_names = data.names["expression"]
        self.local_names, self.local_categories = data.names["local_positive"], data.local_categories
        self.asymmetry_names = data.names["asymmetry"]
        self._macro_words = [key.split("|")[1:] for key in data.names["macro"]]
        self._targets = data.targets

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> "HeadGenerator":
        """Generator from a head file; `None` takes the carried one. Raises InputError as `load_head_data`."""
        return cls(load_head_data(path))

    def sample_identity(self, rng: np.random.Generator) -> HeadIdentity:
        """A random adult: ages 18 to 85, both sexes with all degrees between, mixed ancestries."""
        common = rng.normal(0, self._local_spread)
        local = np.clip(common[self._local_pair] + rng.normal(0, self._side_spread), -1, 1)
        return HeadIdentity(
            sex=float(rng.beta(0.35, 0.35)),
            age=float(rng.uniform(18, 85)),
            ancestry=rng.dirichlet([0.5, 0.5, 0.5]),
            muscle=float(rng.beta(2, 2.5)),
            weight=float(rng.beta(2.5, 2.5)),
            height=float(np.clip(rng.normal(0.45, 0.08), 0, 1)),
            proportions=float(rng.beta(2, 2)),
            local=local,
            asymmetry=np.abs(rng.normal(0, ASYMMETRY_SPREAD, len(self.asymmetry_names))),
        )

    def neutral(self, identity: HeadIdentity) -> np.ndarray:
        """Neutral head (V, 3) float32, mm, rigidly aligned onto the mean face over the face's skin."""
        return self.neutral_batch([identity])[0]

    def neutral_batch(self, identities: Sequence[HeadIdentity]) -> np.ndarray:
        """Neutral heads (B, V, 3) float32, each as `neutral` gives it."""
        heads = self.unaligned(identities)
        skin = self.face_vertices[self.face_is_skin]
        rotation, shift = rigid_alignment(heads[:, skin], self.face_mean[self.face_is_skin])
        return (heads @ rotation.transpose(0, 2, 1) + shift[:, None]).astype(np.float32)

    def unaligned(self, identities: Sequence[HeadIdentity], vertices: np.ndarray | None = None) -> np.ndarray:
        """Neutral heads (B, V, 3) float32 as the targets give them, or their given vertices (ids) only."""
        local = np.stack([identity.local for identity in identities])
        weights = {
            "macro": self._macro_weights(identities),
            "local_positive": np.maximum(local, 0),
            "local_negative": np.maximum(-local, 0),
            "asymmetry": np.stack([identity.asymmetry for identity in identities]),
        }
        part = slice(None) if vertices is None else vertices
        heads = np.repeat(self.template[None, part], len(identities), axis=0)
        for group, weight in weights.items():
            offsets = self._targets[group][:, part]
            moved = weight.astype(np.float32) @ offsets.reshape(len(offsets), -1)
            heads += moved.reshape(heads.shape)
        return heads

    def expression_offsets(self, weights: np.ndarray) -> np.ndarray:
        """Offsets (V, 3) float32 in mm of the 52 expressions under weights (52,), usually in [0, 1]."""
        return np.tensordot(np.asarray(weights, dtype=np.float32), self._targets["expression"], 1)

    def _macro_weights(self, identities: Sequence[HeadIdentity]) -> np.ndarray:
        """Weights (B, K) of the macro targets: products of piecewise linear weights of their words."""
        values = {
            name: np.array([getattr(identity, name) for identity in identities])
            for name in ("sex", "age", "muscle", "weight", "height", "proportions")
        }
        ancestry = np.stack([identity.ancestry for identity in identities])
        ancestry = ancestry / ancestry.sum(1, keepdims=True)
        old = (values["age"] - YOUNG_YEARS) / (OLD_YEARS - YOUNG_YEARS)
        words = dict(zip(ANCESTRIES, ancestry.T, strict=True))
        for value, anchors in (
            (values["sex"], ("female", "male")),
            (old, ("young", "old")),
            (values["muscle"], ("minmuscle", "averagemuscle", "maxmuscle")),
            (values["weight"], ("minweight", "averageweight", "maxweight")),
            (values["height"], ("minheight", "maxheight")),
            (values["proportions"], ("idealproportions", "uncommonproportions")),
        ):
            words |= dict(zip(anchors, _hat_weights(value, len(anchors)), strict=True))
        return np.stack([np.prod([words[word] for word in key], axis=0) for key in self._macro_words], axis=1)

    @cached_property
    def _local_pair(self) -> np.ndarray:
        """Index of the left partner of each right-hand local change, of itself otherwise."""
        index = {name: k for k, name in enumerate(self.local_names)}
        return np.array([index["l-" + name[2:]] if name.startswith("r-") else index[name] for name in self.local_names])

    @cached_property
    def _local_spread(self) -> np.ndarray:
        spread = []
        for name, category in zip(self.local_names, self.local_categories, strict=True):
            factor = LOCAL_SPREAD_FACTOR.get(name, 1.0)
            if name.endswith("trans-out") and not name.startswith(("l-", "r-")):
                factor *= SIDEWAYS_FACTOR
            spread.append(LOCAL_SPREAD[category] * factor)
        return np.array(spread)

    @cached_property
    def _side_spread(self) -> np.ndarray:
        paired = np.array([name.startswith(("l-", "r-")) for name in self.local_names])
        return np.where(paired, SIDE_DIFFERENCE * self._local_spread, 0.0)


def rigid_alignment(points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (B, 3, 3) and shifts (B, 3) that best move each of `points` (B, N, 3) onto `target` (N, 3).

    `points @ R.T + shift` is nearest to the target in the least-squares sense (Kabsch 1976). float64.
    """
    centre, target_centre = points.mean(1, dtype=np.float64), target.mean(0, dtype=np.float64)
    covariance = np.einsum("bni,nj->bij", points - centre[:, None], target - target_centre)
    left, _, right = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(left @ right))
    right[:, 2] *= sign[:, None]
    rotation = (left @ right).transpose(0, 2, 1)
    return rotation, target_centre - np.einsum("bij,bj->bi", rotation, centre)


def _hat_weights(value: np.ndarray, count: int) -> np.ndarray:
    """Piecewise linear weights (count, B) of values in [0, 1] at `count` evenly spaced anchors; clamped outside."""
    anchors = np.linspace(0, 1, count)[:, None]
    return np.maximum(0, 1 - np.abs(np.clip(value, 0, 1) - anchors) * (count - 1))
