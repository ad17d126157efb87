"""The pages that are made from the code say what the code says."""

import pytest
from generated.pages import PAGES, ROOT


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_is_made_from_the_code_is_current(name: str) -> None:
    document = (ROOT / name).read_text("utf-8")
    is_current = document == PAGES[name](document)
    assert is_current, f"{name} is old: run `PYTHONPATH=tests:$PYTHONPATH python -m generated`"
