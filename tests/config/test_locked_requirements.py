"""What is locked is what pyproject.toml asks for, each file of it by its hash (Q1)."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMMAND_LINE = {"typer", "rich"}
LINE = re.compile(
    r"^([a-z0-9.-]+)==(\S+)((?: ; [^\\]+)?)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$"
)


def locked(name: str) -> dict[str, str]:
    """Return name -> version of a file of locked requirements."""
    text = (REPOSITORY / "scripts/locked" / f"{name}.txt").read_text(encoding="ascii")
    entries = re.split(r"\n(?=\S)", text.rstrip("\n"))
    found = [LINE.match(entry) for entry in entries]
    assert all(found), [entry for entry, match in zip(entries, found, strict=True) if not match]
    return {match[1]: match[2] for match in found if match}


@pytest.mark.parametrize(("name", "extra"), [("service", "server"), ("node", "tls")])
def test_q1_everything_that_is_asked_for_is_locked_within_its_range(name: str, extra: str) -> None:
    """Q1: run `make lock` where this fails."""
    found = locked(name)
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]):
        wanted = Requirement(text)
        assert wanted.specifier.contains(found[canonicalize_name(wanted.name)]), text


def test_q1_clients_and_nodes_need_two_libraries_at_most_beside_the_command_line() -> None:
    names = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert len(names - COMMAND_LINE) <= 2
