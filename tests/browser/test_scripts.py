"""The page's scripts and its client: tested by node, and their types and syntax checked."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "sched/pointsman_sched/console/page"
CLIENT = ROOT / "clients/web"
NODE = shutil.which("node")
TYPES = ROOT / ".venv/web/node_modules/.bin/tsc"
LINES_MAX = 400
CLIENT_LINES_MAX = 475  # one file, so that people can take it as it is


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=120, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr


def node_version() -> int:
    if NODE is None:
        return 0
    said = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)", said)
    assert found is not None, said
    return int(found[1])


@pytest.mark.skipif(node_version() < 20, reason="needs Node.js 20 or newer, for its test clock")
def test_the_client_and_the_voice_gate_keep_their_promises(tmp_path: Path) -> None:
    assert NODE is not None
    here = Path(__file__).parent
    for path in (
        CLIENT / "pointsman.js",
        PAGE / "voice.js",
        PAGE / "token.js",
        here / "client.test.js",
    ):
        shutil.copy(path, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    run(NODE, "--test", cwd=tmp_path)


@pytest.mark.skipif(NODE is None, reason="node is not installed: apt-get install nodejs")
def test_every_script_is_well_formed_and_short(tmp_path: Path) -> None:
    assert NODE is not None
    scripts = [CLIENT / "pointsman.js", *PAGE.rglob("*.js")]
    assert len(scripts) > 5
    for path in scripts:
        module = tmp_path / f"{path.stem}.mjs"
        shutil.copy(path, module)
        run(NODE, "--check", module)
        lines_max = CLIENT_LINES_MAX if path.parent == CLIENT else LINES_MAX
        assert len(path.read_text().splitlines()) <= lines_max, path


@pytest.mark.skipif(
    not TYPES.exists(), reason="typescript is not installed: scripts/setup.sh browser"
)
def test_the_types_of_page_and_client_agree() -> None:
    run(TYPES, "-p", CLIENT)
