"""Where output goes: answers to standard output, trouble to standard error."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pointsman_wire.errors import Code

# Without a terminal there is no width to keep to.
PLAIN_WIDTH = 120
LABEL_WIDTH = 15

out = Console(highlight=False, soft_wrap=False)
err = Console(highlight=False, stderr=True)


def say(*lines: str) -> None:
    """Print lines as they are, without looking for markup; long ones are wrapped by nobody."""
    for line in lines:
        out.print(Text(line), soft_wrap=True)


def say_json(data: Any) -> None:
    """Print data as JSON, indented, for programs."""
    out.out(json.dumps(data, indent=2, ensure_ascii=False), highlight=False)


def error_page(code: str) -> str:
    """Return where a code of an error is explained; "" for none, and for one not known here."""
    return f"docs/errors.md#{code.lower()}" if code in set(Code) else ""


def tell_trouble(what: str, todo: str = "", error_code: str = "") -> None:
    """Say on standard error what is wrong, what to do, and where its code is explained."""
    err.print(Text("pointsman: ", style="bold red") + Text(what), soft_wrap=True)
    if todo:
        err.print(Text("what to do: ", style="bold") + Text(todo), soft_wrap=True)
    if page := error_page(error_code):
        err.print(Text(f"see {page}", style="dim"), soft_wrap=True)


def complete(value: object) -> object:
    """Return data for JSON with every field, those at their default too."""
    if isinstance(value, msgspec.Struct):
        return {name: complete(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: complete(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [complete(inner) for inner in value]
    return value


def fields(value: msgspec.Struct) -> dict[str, object]:
    """Return every field of a message for JSON, to stand among others."""
    return {name: complete(inner) for name, inner in msgspec.structs.asdict(value).items()}


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()
) -> Table:
    """Return a table of plain text; columns named in `numbers` are aligned to the right."""
    made = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        show_edge=False,
        header_style="bold",
    )
    for head in heads:
        is_number = head in numbers
        # The first column names the line: it is kept whole.  Of a number that does not fit the cut
        # is shown: its first digits alone would be another number.
        made.add_column(
            head,
            justify="right" if is_number else "left",
            no_wrap=is_number or head == heads[0],
            overflow="ellipsis" if is_number else "fold",
            min_width=max(map(len, head.split()), default=0),
        )
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def show(what: Table, *, on: Console = out) -> None:
    """Print a table as wide as the terminal, or as it needs where there is none."""
    if not on.is_terminal:
        on = Console(file=on.file, width=PLAIN_WIDTH, highlight=False)
    on.print(what)


def facts(pairs: Iterable[tuple[str, str]], *, on: Console = out) -> None:
    """Print named facts, one a line, their values in one column; empty ones are left out."""
    for name, value in pairs:
        if not value:
            continue
        label = Text(f"{name:<{LABEL_WIDTH}}", style="dim")
        if on.is_terminal:
            line = Table.grid()
            line.add_row(label, Text(value))
            on.print(line)
        else:
            on.print(label + Text(value), soft_wrap=True)
