"""docs/redis.md says what the code does: its tables are held against the code."""

import re

import msgspec
from redis_yard.rights import PAGE, rights

from pointsman_shm.config_redis import RedisConfig
from pointsman_wire.coordination.errors import TROUBLES
from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.requests import RequestKey, SessionKey
from pointsman_wire.coordination.scripting.files import SCRIPT_FILES

TEXT = PAGE.read_text(encoding="utf-8")
# What the connection itself sends; the rest is sent by scripts.
SENT_BESIDES = {"evalsha", "script|load", "info", "select", "asking", "cluster|slots", "time"}
SENT_BESIDES |= {"xgroup|create", "xreadgroup", "xautoclaim", "xpending", "pexpire"}


def test_the_page_lists_every_refusal_as_the_table_has_it() -> None:
    """R11: the page is the table."""
    rows = [f"| `{code}` | {' | '.join(trouble)} |" for code, trouble in TROUBLES.items()]
    lines = TEXT.splitlines()
    first = lines.index(rows[0])
    assert lines[first : first + len(rows)] == rows
    assert not [line for line in lines[first + len(rows) :][:1] if line.startswith("|")]


def test_the_page_lists_every_key_of_the_section_with_its_default() -> None:
    for field in msgspec.structs.fields(RedisConfig):
        row = next((line for line in TEXT.splitlines() if f"`{field.name}`" in line), None)
        assert row is not None, field.name
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert re.search(rf"\b{field.default:g}\b", row), row


def test_the_page_lists_every_kind_of_key() -> None:
    """I10: and each with its life or bound."""
    keys, request, session = Keys(), RequestKey("a", "s", "r"), SessionKey("a", "s")
    names = [keys.bucket(0), keys.binding(request), keys.kept(0), keys.session(session)]
    names += [keys.inbox("alice", 0), keys.dead_letters("alice", 0)]
    names += [keys.presence("alice"), keys.nodes("alice"), keys.names()]
    names += [keys.settings(), keys.leader()]
    for name in names:
        kind = name.split("}:")[1].split(":")[0]
        assert re.search(rf"^\| `pointsman:{{[^}}]+}}:{kind}[`:]", TEXT, re.MULTILINE), kind


def test_the_rights_are_exactly_the_commands_that_are_used() -> None:
    """D1: nothing that is not needed, and nothing that is needed is missing."""
    called = {
        command.lower()
        for script in SCRIPT_FILES.values()
        for command in re.findall(r"redis\.call\('([A-Z]+)'", script.text.decode())
    }
    granted = {right[1:] for right in rights() if right.startswith("+")}
    assert granted == called | SENT_BESIDES
    assert rights()[:3] == ["~pointsman:*", "resetchannels", "-@all"]
