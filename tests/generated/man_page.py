"""docs/man/pointsman.1: the manual page, from the commands and their options."""

import inspect
from collections.abc import Iterator
from typing import Any

import typer.main

from pointsman.cli import endings
from pointsman.cli.main import app

HEAD = """\
.\\" Made from the commands: PYTHONPATH=tests:$PYTHONPATH python -m generated
.TH POINTSMAN 1 "" "Pointsman" "User Commands"
.SH NAME
pointsman \\- places jobs on nodes, in microseconds, and says why
.SH SYNOPSIS
.B pointsman
.I command
.RI [ options ]
.SH DESCRIPTION
"""


def man_page(_: str) -> str:
    """Return the whole page in the man macros of roff."""
    root: Any = typer.main.get_command(app)
    lines = [HEAD + _prose(root.help), ".SH COMMANDS"]
    for words, command in _commands("pointsman", root):
        lines += _command(words, command)
    lines.append(".SH EXIT STATUS")
    codes = inspect.getdoc(endings) or ""
    for line in codes.partition("\n\n")[2].splitlines():
        code, _, meaning = line.partition(" ")
        lines += [".TP", f".B {code}", _escaped(meaning.strip())]
    return "\n".join(line for line in lines if line) + "\n"


def _commands(words: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(f"{words} {name}", command)
        else:
            yield f"{words} {name}", command


def _command(words: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    named = " ".join((p.metavar or p.name or "").upper().strip("[]") for p in arguments)
    yield f".SS {_escaped(f'{words} {named}'.strip())}"
    yield _prose(command.help)
    for parameter in options:
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
        value = "" if parameter.is_flag else f" {(parameter.metavar or parameter.name).upper()}"
        yield ".TP"
        yield f".B {_escaped(names + value)}"
        yield _escaped(" ".join((parameter.help or "").split()) or "See above.")


def _prose(text: str | None) -> str:
    paragraphs = (text or "").replace("\b", "").strip().split("\n\n")
    return "\n.PP\n".join(_escaped(" ".join(part.split())) for part in paragraphs if part.strip())


def _escaped(text: str) -> str:
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe
