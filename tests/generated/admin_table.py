"""The table of routes in docs/admin.md, made from the table of operations.

python tests/console/admin_table.py --write   bring it up to date
"""

import re

import msgspec

from pointsman_sched.console.admin.doors import OPERATIONS

BLOCK = re.compile(r"(<!-- table routes -->\n).*?(<!-- end -->)", re.DOTALL)


def table() -> str:
    """Every route, one a line."""
    lines = ["| route | may | what | says | answers |", "|---|---|---|---|---|"]
    for operation in OPERATIONS:
        said = operation.body or operation.query
        names = ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(said))
        lines.append(
            f"| `{operation.method} {operation.path}` | {operation.access} | {operation.summary} "
            f"| {names} | {operation.answer.__name__} |"
        )
    return "\n".join(lines) + "\n"


def admin_page(text: str) -> str:
    """Return docs/admin.md with the table as it should be."""
    return BLOCK.sub(lambda found: found[1] + table() + found[2], text)
