"""The page's scripts and its client: tested by node, and their types and syntax checked."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "sched/pointsman_sched/console/page"
CLIENT = ROOT / "clients/web"
NODE = shutil.which("node")
TYPES = shutil.which("tsc") or ""
SCHEMA = ROOT / "docs/session-messages.schema.json"
# Which message each interface of the types stands for, and what the client itself sees to.
INTERFACES = {
    "SessionInit": ("SessionInit", {"type", "ref", "unfinished", "last_result"}),
    "SessionInitAck": ("SessionInitAck", {"ref"}),
    "SubmitFields": ("Submit", {"type", "session_number"}),
    "UtteranceFields": ("Utterance", {"type", "session_number", "text"}),
    "ResultMessage": ("Result", set[str]()),
    "Placement": ("Placement", set[str]()),
    "ErrorInfo": ("ErrorInfo", set[str]()),
    "Breakdown": ("Breakdown", set[str]()),
    "RoomMember": ("RoomMember", set[str]()),
}
LINES_MAX = 400
CLIENT_LINES_MAX = 740  # one file, so that people can take it as it is


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
        PAGE / "languages.js",
        PAGE / "microphone.js",
        PAGE / "fleet/feed.js",
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


needs_types = pytest.mark.skipif(
    not TYPES, reason="tsc is not installed: apt-get install node-typescript"
)


@needs_types
def test_the_types_of_page_and_client_agree() -> None:
    run(TYPES, "-p", CLIENT)


@needs_types
def test_the_package_holds_all_that_a_program_with_types_needs_of_it(tmp_path: Path) -> None:
    package = tmp_path / "node_modules/pointsman"
    package.mkdir(parents=True)
    named = json.loads((CLIENT / "package.json").read_text())["files"]
    for name in ("package.json", *named):
        shutil.copy(CLIENT / name, package)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    program = shutil.copy(Path(__file__).parent / "client_use.ts", tmp_path)
    how = ("--strict", "--module", "node16", "--target", "es2022", "--lib", "es2022,dom")
    run(TYPES, *how, program, cwd=tmp_path)
    assert NODE is not None
    run(NODE, "--check", tmp_path / "client_use.js")
    exported = ["Session", "PointsmanError", "packFrame", "unpackFrame"]
    look = f"import * as it from 'pointsman'; process.exit({exported}.every((n) => it[n]) ? 0 : 1)"
    run(NODE, "--input-type=module", "--eval", look, cwd=tmp_path)


def test_the_types_name_the_fields_of_the_messages() -> None:
    types = (CLIENT / "pointsman.d.ts").read_text()
    messages = json.loads(SCHEMA.read_text())["$defs"]
    for interface, (message, ours) in INTERFACES.items():
        found = re.search(rf"export interface {interface} {{(.*?)\n}}", types, re.DOTALL)
        assert found is not None, interface
        fields = set(re.findall(r"^  (\w+)\??:", found[1], re.MULTILINE))
        assert fields == {*messages[message]["properties"]} - ours, interface


def test_the_types_name_the_methods_of_a_session() -> None:
    declared = re.search(
        r"class Session .*?\n}", (CLIENT / "pointsman.d.ts").read_text(), re.DOTALL
    )
    written = re.search(r"class Session .*?\n}", (CLIENT / "pointsman.js").read_text(), re.DOTALL)
    assert declared is not None
    assert written is not None
    method = r"^  ([a-z]\w*)\("
    found = set(re.findall(method, written[0], re.MULTILINE))
    assert "say" in found
    assert set(re.findall(method, declared[0], re.MULTILINE)) == found
