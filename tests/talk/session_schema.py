"""The JSON Schema of all messages of a session, made from the code.

python tests/talk/session_schema.py --write   bring docs/session-messages.schema.json up to date
"""

import argparse
import json
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from pointsman_wire.session_messages import ToClient, ToWorker

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "session-messages.schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def current_text() -> str:
    """Return the schema: what a client sends and what it gets, and every message by its name."""
    (sent, received), components = msgspec.json.schema_components(
        (ToWorker, ToClient), ref_template="#/$defs/{name}"
    )
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        "title": "Messages of a Pointsman session, as JSON",
        "anyOf": [{"$ref": "#/$defs/ToWorker"}, {"$ref": "#/$defs/ToClient"}],
        "$defs": {"ToWorker": sent, "ToClient": received, **dict(sorted(components.items()))},
    }
    return json.dumps(_cleaned(schema), indent=1, ensure_ascii=False) + "\n"


def _cleaned(part: Any) -> Any:
    """Take the indentation off descriptions, docstrings: newer Pythons do it themselves."""
    if isinstance(part, dict):
        return {
            key: _described(value) if key == "description" else _cleaned(value)
            for key, value in part.items()
        }
    return [_cleaned(item) for item in part] if isinstance(part, list) else part


def _described(text: Any) -> Any:
    return cleandoc(text) if isinstance(text, str) else _cleaned(text)


def main() -> None:
    """Write the schema."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    DOCUMENT.write_text(current_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
