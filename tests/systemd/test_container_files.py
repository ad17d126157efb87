"""The files for containers: read, held against the rules of linters, and their options tried.

No image is built here.  The rules are those of hadolint that matter for this file, by their
numbers, and what a container must be given that holds this service.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from pointsman.cli.serve import app as serve_app
from pointsman.cli.units.node_unit import check_offer
from pointsman_shm.config import Config
from pointsman_shm.memory.catalog_layout import CatalogLayout

FOLDER = Path(__file__).parents[2] / "systemd" / "containers"
KNOWN = {
    *("FROM", "SHELL", "WORKDIR", "COPY", "RUN", "LABEL", "ENV", "USER", "VOLUME", "EXPOSE"),
    *("STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
}
SERVICE_KEYS = {
    *("image", "build", "network_mode", "restart", "init", "read_only", "cap_drop", "command"),
    *("security_opt", "shm_size", "pids_limit", "mem_limit", "stop_grace_period", "ulimits"),
    *("tmpfs", "volumes", "depends_on"),
}


def instructions() -> list[tuple[str, str]]:
    """Return (instruction, argument) of each, lines that go on joined."""
    text = (FOLDER / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(word, rest) for word, rest in found]


def arguments(word: str) -> list[str]:
    return [rest for found, rest in instructions() if found == word]


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return loaded


def test_the_containerfile_is_made_of_instructions() -> None:
    assert {word for word, _ in instructions()} <= KNOWN
    assert instructions()[0][0] == "FROM"


def test_dl3006_dl3007_images_are_named_whole_and_with_a_version() -> None:
    for image in arguments("FROM"):
        assert re.fullmatch(r"[a-z.]+/[a-z/]+:[0-9][\w.-]*( AS [a-z]+)?", image), image


def test_dl3002_the_process_is_no_root_and_its_number_is_known() -> None:
    last = instructions()[[word for word, _ in instructions()].index("USER")][1]
    assert last == "990"
    assert "--uid 990" in " ".join(arguments("RUN"))


def test_dl3000_dl3020_dl3042_dl4006_commands_are_sound() -> None:
    assert all(place.startswith("/") for place in arguments("WORKDIR"))
    for command in arguments("RUN"):
        assert "pip install" not in command or "--no-cache-dir" in command
        assert "sudo" not in command
        assert not re.search(r"\bcd ", command)
    assert "pipefail" in arguments("SHELL")[0]


def test_dl3025_what_starts_is_written_as_words() -> None:
    (entry,), (command,) = arguments("ENTRYPOINT"), arguments("CMD")
    assert json.loads(entry) == ["pointsman"]
    word, *options = json.loads(command)
    assert word == "serve"
    get_command(serve_app).make_context("serve", options)
    check = arguments("HEALTHCHECK")[0].partition(" CMD ")[2]
    assert json.loads(check)[:2] == ["pointsman", "status"]


@pytest.mark.parametrize("name", ["service", "node"])
def test_each_container_of_the_compose_file_is_closed_and_bounded(name: str) -> None:
    service = compose()["services"][name]
    assert set(service) <= SERVICE_KEYS
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"pids_limit", "mem_limit", "restart", "stop_grace_period"} <= set(service)


def test_the_compose_file_names_what_it_uses() -> None:
    loaded = compose()
    assert set(loaded) == {"name", "services", "volumes"}
    for service in loaded["services"].values():
        used = {volume.split(":")[0] for volume in service["volumes"]}
        assert used <= set(loaded["volumes"])
        assert set(service.get("depends_on", ())) <= set(loaded["services"])
    assert (FOLDER / loaded["services"]["service"]["build"]["dockerfile"]).is_file()


def test_shared_memory_of_the_compose_file_holds_a_fleet_of_the_usual_size() -> None:
    size = compose()["services"]["service"]["shm_size"]
    assert size.endswith("m")
    assert CatalogLayout(Config().nodes.max_nodes).size < int(size[:-1]) << 20


def test_the_node_of_the_compose_file_has_options_of_a_node() -> None:
    word, *options = compose()["services"]["node"]["command"]
    assert word == "node"
    for option in ("--node-id", "--state-dir"):
        at = options.index(option)
        del options[at : at + 2]
    check_offer(shlex.split(shlex.join(options)))
