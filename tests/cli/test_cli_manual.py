"""The manual page renders without a complaint, and shells complete commands."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pointsman.cli.main import app

MANUAL = Path(__file__).parents[2] / "docs" / "man" / "pointsman.1"


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_the_manual_page_renders_without_a_complaint() -> None:
    command = ["groff", "-man", "-Tutf8", "-ww", "-P-cbou", str(MANUAL)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"EXIT STATUS" in done.stdout


def test_the_manual_page_is_installed_where_man_looks_for_it(tmp_path: Path) -> None:
    """Beside the folder of the command: share/man of the environment."""
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    subprocess.run(build, cwd=MANUAL.parents[2], check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        (name,) = [name for name in opened.namelist() if name.endswith("pointsman.1")]
        assert name.endswith(".data/data/share/man/man1/pointsman.1")
        assert opened.read(name) == MANUAL.read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("pointsman why", ["why-not"]),
        ("pointsman nod", ["node", "nodes"]),
        ("pointsman node ", ["install", "uninstall"]),
        ("pointsman node un", ["uninstall"]),
        ("pointsman node install --na", ["--name"]),
        ("pointsman node --nm", ["--nmt"]),
        ("pointsman systemd in", ["install"]),
    ],
)
def test_bash_completes_commands_of_one_word_and_of_two(words: str, expected: list[str]) -> None:
    asked = {
        "_POINTSMAN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = CliRunner(env=asked).invoke(app, [], prog_name="pointsman")
    assert done.stdout.split() == expected, done.output
