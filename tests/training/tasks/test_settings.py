import subprocess
import sys

import pytest
from pydantic import ValidationError

from facerecon.training.settings import TrainingSettings
from facerecon.training.tasks.settings import TASK_SETTINGS, TRAINING, LandmarkSettings


def test_settings_import_without_torch():
    code = "import sys, facerecon.training.tasks.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", sorted(TASK_SETTINGS))
def test_defaults_are_valid_and_unknown_keys_are_refused(name):
    assert TrainingSettings(**TRAINING[name]).steps > 0
    TASK_SETTINGS[name]()
    with pytest.raises(ValidationError):
        TASK_SETTINGS[name](colour=1)
    with pytest.raises(ValidationError):
        TASK_SETTINGS[name](width=0)


def test_a_batch_is_never_wholly_unlabelled():
    assert LandmarkSettings(unlabelled_share=0.99).unlabelled_share == 0.99
    with pytest.raises(ValidationError, match="less than 1"):
        LandmarkSettings(unlabelled_share=1)
