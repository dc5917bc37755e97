import numpy as np
import pytest

from facerecon.training.tasks.identification import gallery_and_probes, identify, verification


def test_verification_by_hand():
    perfect = verification(np.array([0.9, 0.8, 0.1, 0.2]), np.array([True, True, False, False]))
    assert perfect == {"accuracy": 1.0, "tar_at_far_1pc": 1.0, "auc": 1.0}
    mixed = verification(np.array([0.9, 0.3, 0.5, 0.1]), np.array([True, True, False, False]))
    # best threshold: above 0.5 accepts half and refuses all, or above 0.1 accepts all and refuses half
    assert mixed["accuracy"] == pytest.approx(0.75) and mixed["auc"] == pytest.approx(0.75)
    assert mixed["tar_at_far_1pc"] == pytest.approx(0.5)
    assert verification(np.ones(4), np.array([True, False, True, False]))["auc"] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="needs pairs"):
        verification(np.ones(3), np.ones(3, bool))


def test_the_gallery_holds_the_least_turned_bare_photograph_of_each_subject():
    subjects = np.array([5, 5, 5, 5, 9, 9, 2, 2, 7])
    yaw = np.radians([40, -10, 5, 80, 45, 50, 0, 1, 0])
    attributes = {"rotation": np.column_stack([0 * yaw, yaw, 0 * yaw]), "occluded": np.zeros(9, bool)}
    attributes["occluded"][[2, 6]] = True
    gallery, probes = gallery_and_probes(subjects, attributes)
    # 9 never looks at the camera; 2 has one bare photograph and 7 one in all, so there is nothing to find them by
    assert gallery.tolist() == [1] and probes.tolist() == [0, 3]
    attributes["occlusion"] = np.where(np.arange(9) == 1, 0.3, 0.1)  # hidden by hair, say
    gallery, probes = gallery_and_probes(subjects, attributes)
    assert gallery.tolist() == probes.tolist() == []  # 5 is left with turned ones
    attributes["occluded"][2] = False
    gallery, probes = gallery_and_probes(subjects, attributes)
    assert gallery.tolist() == [2] and probes.tolist() == [0, 3]
    assert all(len(part) == 0 for part in gallery_and_probes(subjects, {}))


def test_identify_by_hand():
    gallery = np.eye(3)[:2]
    probes = np.array([[0.9, 0.1, 0], [0.9, 0.1, 0], [0.2, 0.8, 0.4]])
    np.testing.assert_array_equal(identify(gallery, np.array([3, 4]), probes, np.array([3, 4, 4])), [True, False, True])
