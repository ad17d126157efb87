"""Where output goes: answers to standard output, trouble to standard error."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Without a terminal there is no width to keep to, and a cut-off line would be of no use.
PLAIN_WIDTH = 160

out = Console(highlight=False, soft_wrap=False)
err = Console(highlight=False, stderr=True)


def say(*lines: str) -> None:
    """Print lines as they are, without looking for markup; long ones are wrapped by nobody."""
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def say_json(data: Any) -> None:
    """Print data as JSON, indented, for programs."""
    out.out(json.dumps(data, indent=2, ensure_ascii=False), highlight=False)


def tell_trouble(what: str, todo: str = "") -> None:
    """Say on standard error what is wrong, and what to do."""
    err.print(Text("pointsman: ", style="bold red") + Text(what), soft_wrap=True)
    if todo:
        err.print(Text("what to do: ", style="bold") + Text(todo), soft_wrap=True)


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
) -> Table:
    """Return a table of plain text; columns named in `numbers` are aligned to the right."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for head in heads:
        is_number = head in numbers
        made.add_column(
            head, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold"
        )
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def show(what: Table, *, on: Console = out) -> None:
    """Print a table as wide as the terminal, or as it needs where there is none."""
    on.print(what, width=None if on.is_terminal else PLAIN_WIDTH)


def facts(pairs: Iterable[tuple[str, str]], *, on: Console = out) -> None:
    """Print named facts, one a line, their values in one column; empty ones are left out."""
    for name, value in pairs:
        if value:
            on.print(Text(f"{name:<13} ", style="dim") + Text(value), soft_wrap=True)
