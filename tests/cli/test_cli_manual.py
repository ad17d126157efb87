"""The manual page renders without a complaint, and shells complete commands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MANUAL = Path(__file__).parents[2] / "docs" / "man" / "pointsman.1"


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_the_manual_page_renders_without_a_complaint() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", str(MANUAL)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"EXIT STATUS" in done.stdout


def test_bash_completes_the_name_of_a_command() -> None:
    asked = {
        "_POINTSMAN_COMPLETE": "complete_bash",
        "COMP_WORDS": "pointsman why",
        "COMP_CWORD": "1",
    }
    code = "from pointsman.cli.main import app; app(prog_name='pointsman')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["why-not"], done.stderr
