"""docs/logs.md lists what the code can write."""

from log_table import DOCUMENT, current_text


def test_the_page_lists_every_event() -> None:
    document = DOCUMENT.read_text("utf-8")
    assert document == current_text(document), "run `python tests/logs/log_table.py --write`"
