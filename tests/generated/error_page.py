"""docs/errors.md: every code that crosses the wire, from the table of codes and advice."""

import tomllib
from pathlib import Path

from pointsman_wire.errors import MEANINGS, Code

ADVICE = Path(__file__).with_name("error_advice.toml")

OPENING = """\
# Errors

An error has a code, words that say what is wrong in this case, whether trying the same again can
help (`retryable`), perhaps after how long (`retry_after_ms`), whose fault it is, and a hint. The
same code stands in answers, in logs and in metrics. Each has a heading here:
`docs/errors.md#queue_full` is about `QUEUE_FULL`.

| code | try again | who can mend it |
|---|---|---|
"""


def error_page(_: str) -> str:
    """Return the whole page; a code without advice, and advice without a code, is an error."""
    advice = tomllib.loads(ADVICE.read_text("utf-8"))
    assert set(advice) == {code.value for code in Code}, set(advice) ^ {c.value for c in Code}
    page = OPENING
    for code, meaning in MEANINGS.items():
        again = "yes" if meaning.retryable else "no"
        page += f"| [{code.value}](#{code.value.lower()}) | {again} | {meaning.fault.value} |\n"
    for code, meaning in MEANINGS.items():
        page += f"\n## {code.value}\n\n{advice[code.value]}\n\n"
        page += f"Hint: {meaning.hint}\n"
    return page
