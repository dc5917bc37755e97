"""Accuracy of the detector: recall at a fixed rate of false detections, by size of the face and by groups."""

import numpy as np
from numpy.typing import NDArray

from facerecon.evaluate.groups import face_side_groups, groups_of
from facerecon.evaluate.statistics import Figure, Measure, mean_measure
from facerecon.networks.detector import FOUND_OVERLAP, DetectorNetwork, detect_faces, intersection_over_union
from facerecon.networks.image_crops import points_box
from facerecon.networks.landmarks import LandmarkNetwork
from facerecon.preprocess.face import PROPOSAL_SCORE
from facerecon.progress import track
from facerecon.training.tasks.backgrounds import MEASURING_PICTURES
from facerecon.training.tasks.detector import FALSE_PER_SCENE, judge_scenes
from facerecon.training.tasks.photographs import PhotographStore
from facerecon.training.tasks.scenes import Scene, SceneComposer
from facerecon.training.tasks.settings import DetectorSettings

RATES = (FALSE_PER_SCENE, 0.1)
"""False detections a scene at which recall is told."""
_SEED = 20_000
_LEAST_SCORE = 0.02


def measured_scenes(store: PhotographStore, indices: NDArray) -> list[Scene]:
    """One composed scene a photograph, always the same ones, by the detector's default settings, before backgrounds
    that neither training nor the choice of the score threshold has shown."""
    settings = DetectorSettings()
    composer = SceneComposer(store, settings, _SEED, MEASURING_PICTURES)
    rng = np.random.default_rng(_SEED)
    others = [rng.permutation(indices) for _ in range(settings.most_people - 1)]
    return [composer.compose(rng, chosen) for chosen in zip(indices, *others, strict=True)]


def scene_measures(
    store: PhotographStore, scenes: list[Scene], network: DetectorNetwork
) -> tuple[list[Measure], list[Figure]]:
    """Recall in composed scenes at each of RATES, and the scores at which these are reached."""
    judged = list(judge_scenes(network, scenes, _LEAST_SCORE))
    wrong = np.sort(np.concatenate([scores[overlaps == 0] for scores, overlaps, _ in judged]))[::-1]
    found = np.concatenate([found for *_, found in judged])
    indices = np.concatenate([scene.indices for scene in scenes])
    boxes = np.concatenate([scene.boxes for scene in scenes])
    groups = {"face_pixels": face_side_groups((boxes[:, 2:] - boxes[:, :2]).max(1))}
    groups |= groups_of({name: column[indices] for name, column in store.attributes.items()})
    measures, rows = [], []
    for rate in RATES:
        allowed = int(rate * len(scenes))
        threshold = max(_LEAST_SCORE, float(wrong[allowed]) if len(wrong) > allowed else 0.0)
        name = f"recall_at_{rate:g}_false_a_scene"
        measures.append(mean_measure("detector", name, found > threshold, store.subjects[indices], groups))
        rows.append(_overall(f"score_at_{rate:g}_false_a_scene", len(scenes), threshold))
    own = found >= network.score_threshold
    measures.append(mean_measure("detector", "recall_at_own_threshold", own, store.subjects[indices], groups))
    false = float((wrong >= network.score_threshold).sum() / max(len(scenes), 1))
    return measures, [*rows, _overall("false_a_scene_at_own_threshold", len(scenes), false)]


def photograph_measures(
    store: PhotographStore, indices: NDArray, network: DetectorNetwork, verifier: LandmarkNetwork
) -> tuple[list[Measure], list[Figure]]:
    """Share of whole photographs whose face the detector and the landmark network find together, as the pipeline asks
    them: one of the boxes overlaps the true one by half; and the 5th percentile of the detector's score for it."""
    found, scores = [], []
    for index in track(indices, "faces in whole photographs", len(indices)):
        image, truth = store.image(index), points_box(store.landmarks[index])
        found.append(bool(_overlapping(detect_faces(image, network, PROPOSAL_SCORE, verifier), truth)))
        scores.append(max(_overlapping(detect_faces(image, network, _LEAST_SCORE), truth), default=0.0))
    groups = groups_of({name: column[indices] for name, column in store.attributes.items()})
    recall = mean_measure("detector", "found_in_photographs", np.array(found), store.subjects[indices], groups)
    return [recall], [_overall("score_5th_percentile", len(indices), float(np.quantile(scores, 0.05)))]


def _overlapping(detections: list, truth: NDArray) -> list[float]:
    """Scores of the detections that overlap the true box."""
    return [each.score for each in detections if intersection_over_union(each.box, truth[None])[0] >= FOUND_OVERLAP]


def _overall(name: str, cases: int, value: float) -> Figure:
    return Figure("detector", name, "all", "all", cases, value, float("nan"), float("nan"))
