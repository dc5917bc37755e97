"""Everything about the package is in pyproject.toml; this writes the commit that a build is made from into it.

`facerecon.provenance` reads it where there is no git checkout to ask.
"""

import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCommit(build_py):
    """Copies the package and adds the file COMMIT."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        here = Path(__file__).parent
        command = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            return
        if answer.returncode == 0 and (here / ".git").exists():
            (Path(self.build_lib) / "facerecon" / "COMMIT").write_text(answer.stdout, encoding="ascii")


setup(cmdclass={"build_py": BuildWithCommit})
