"""docs/limits.md says what the code does: defaults, knobs, and a test for each line."""

import re

import msgspec
from bounds import limits_table
from tidy_source import packaged, sources

from pointsman_shm import config
from pointsman_wire import limits


def test_the_table_of_limits_is_current() -> None:
    text = limits_table.DOCUMENT.read_text(encoding="utf-8")
    assert text == limits_table.current_text(text), (
        "run python tests/bounds/limits_table.py --write"
    )


def test_every_knob_of_the_section_limits_that_is_read_is_in_the_table() -> None:
    listed = {row.knob for row in limits_table.ROWS}
    texts = [s.text for s in packaged() if not s.name.endswith("_shm/config.py")]
    fields = [field.name for field in msgspec.structs.fields(config.LimitsConfig)]
    names = {name for name in fields if any(f".{name}" in text for text in texts)}
    assert len(names) > 10
    missing = {f"limits.{name}" for name in names} - listed
    assert not missing, "add a row to tests/bounds/limits_table.py"


def test_each_limit_is_shown_by_a_test_that_exists() -> None:
    texts = [s.text for s in sources() if s.path.name.startswith("test_")]
    functions = {name for text in texts for name in re.findall(r"\bdef (test_\w+)\(", text)}
    assert {row.shown_by for row in limits_table.ROWS} - functions == set()


def test_the_configuration_allows_what_the_protocol_allows() -> None:
    """A service cannot be told to take frames that no peer may send."""
    assert config.FRAME_BYTES_MAX == limits.FRAME_BYTES_MAX
    assert config.PAYLOAD_BYTES_MAX == limits.PAYLOAD_BYTES_MAX
    assert config.HANDSHAKE_BYTES_MAX == limits.REGISTER_BYTES_MAX
    defaults = config.LimitsConfig()
    assert defaults.handshake_bytes_max == limits.HANDSHAKE_BYTES_MAX
    assert defaults.handshake_s == limits.HANDSHAKE_TIMEOUT_S
    assert defaults.frame_arrival_s == limits.FRAME_ARRIVAL_TIMEOUT_S
