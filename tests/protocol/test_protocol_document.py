"""docs/protocol.md says what the code does, and names nothing that is not there."""

import re

import pytest
import wire_tables
from msgspec import inspect
from wire_samples import message_types

from pointsman_wire.errors import Code

TEXT = wire_tables.DOCUMENT.read_text(encoding="utf-8")
PROSE = wire_tables.BLOCK.sub("", TEXT)


def fields() -> set[str]:
    rows = re.findall(r"^\| `(\w+)` \|", "".join(wire_tables.blocks().values()), re.MULTILINE)
    return {*rows, "type"}


def test_the_tables_are_current() -> None:
    advice = "run: python tests/wire_tables.py --write"
    assert wire_tables.current_text(TEXT) == TEXT, advice


def test_every_table_has_its_place() -> None:
    assert sorted(wire_tables.BLOCK.findall(TEXT)) == sorted(wire_tables.blocks())


def test_every_field_has_a_meaning_and_no_meaning_is_left_over() -> None:
    assert wire_tables.unused_meanings() == set()


@pytest.mark.parametrize("name", sorted(message_types()))
def test_every_message_has_its_table(name: str) -> None:
    assert f"#### {name}\n" in TEXT
    info = inspect.type_info(message_types()[name])
    assert isinstance(info, inspect.StructType)
    section = TEXT.split(f"#### {name}\n", 1)[1].split("\n#", 1)[0]
    assert [f"| `{field.name}` |" in section for field in info.fields].count(False) == 0


@pytest.mark.parametrize("code", Code)
def test_every_error_code_is_in_the_table(code: Code) -> None:
    assert f"| `{code.value}` |" in TEXT


def test_the_prose_names_only_messages_and_fields_that_exist() -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", PROSE))
    values = {
        "completed_no_text",
        "specific_pairs",
        "any_to_any",
        "any_to_en",
        "en_to_any",
        "two_way",
    }
    values |= set(re.findall(r"^#### (\w+)$", TEXT, re.MULTILINE))
    assert named - values - fields() - set(message_types()) == set()


def test_the_prose_names_only_error_codes_that_exist() -> None:
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", PROSE))
    assert named <= {code.value for code in Code}


def test_links_inside_the_document_lead_somewhere() -> None:
    headings = set(re.findall(r"^#+ (\w+)$", TEXT, re.MULTILINE))
    assert set(re.findall(r"\(#(\w+)\)", TEXT)) <= headings


def test_the_document_says_nothing_twice_about_a_message() -> None:
    headings = re.findall(r"^#### (\w+)$", TEXT, re.MULTILINE)
    twice = {name for name in headings if headings.count(name) > 1}
    assert twice == {"drain", "ui_event"}, "they go both ways"
    assert len(headings) == len(set(headings)) + 2
