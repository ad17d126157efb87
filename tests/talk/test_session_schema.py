"""The JSON Schema in docs/ is that of the code, and names every message of a session."""

import json
from typing import get_args

import session_schema

from pointsman_wire.session_messages import ToClient, ToWorker


def test_the_schema_is_current() -> None:
    advice = "run: python tests/talk/session_schema.py --write"
    assert session_schema.DOCUMENT.read_text(encoding="utf-8") == session_schema.current_text(), (
        advice
    )


def test_every_message_of_a_session_is_in_it_under_its_type() -> None:
    schema = json.loads(session_schema.DOCUMENT.read_text(encoding="utf-8"))
    for side, union in (("ToWorker", ToWorker), ("ToClient", ToClient)):
        named = schema["$defs"][side]["discriminator"]["mapping"]
        tags = {str(member.__struct_config__.tag) for member in get_args(union)}
        assert set(named) == tags
        for reference in named.values():
            assert reference.removeprefix("#/$defs/") in schema["$defs"]
