"""SIGTERM and SIGINT end a command at once and leave no temporary files."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def default_signals() -> None:
    """As in a shell's foreground: a background job of a script ignores SIGINT, and its children inherit that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_rendering_and_leaves_nothing(tmp_path: Path, number: int, status: int) -> None:
    options = ["--subjects", "500", "--photos-per-subject", "10", "--size", "64", "--out", "photographs"]
    process = subprocess.Popen(
        [sys.executable, "-m", "facerecon", "data", "synthesize", *options],
        cwd=tmp_path,
        preexec_fn=default_signals,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob(".photographs.*.part/images/*.jpg")):
            assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
            time.sleep(0.05)
        os.kill(process.pid, number)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == status
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
