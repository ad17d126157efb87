"""The Lua scripts, one file each, as Redis gets them.

The text of bucket.lua comes before those that are about a bucket.

Nothing is ever put into a script's text: names come as KEYS, values as ARGV (D3).
"""

import hashlib
from importlib import resources
from typing import NamedTuple

_ABOUT_BUCKETS = {
    "buckets": ("touch", "freeze", "thaw", "republish", "kept"),
    "bindings": ("bind", "lookup", "end", "release", "renew", "move"),
}
_PLAIN = {
    "inboxes": (
        "send",
        "acknowledge",
        "bury",
        "dead_read",
        "dead_redrive",
        "dead_discard",
    ),
    "sessions": ("session_read", "session_write"),
    "fleet": (
        "fleet_ask",
        "fleet_tell",
        "fleet_settle",
        "fleet_leave",
        "fleet_pair",
        "fleet_redeem",
    ),
}


class ScriptFile(NamedTuple):
    """A script as Redis gets it, and the name it then has there."""

    text: bytes
    sha: bytes


def _read(folder: str, name: str) -> bytes:
    package = resources.files("pointsman_wire.coordination.scripting")
    return (package / "scripts" / folder / f"{name}.lua").read_bytes()


def _load() -> dict[str, ScriptFile]:
    bucket = _read("buckets", "bucket")
    texts = {n: bucket + _read(f, n) for f, names in _ABOUT_BUCKETS.items() for n in names}
    texts |= {n: _read(f, n) for f, names in _PLAIN.items() for n in names}
    # Redis itself names scripts by their SHA-1; nothing is secured by it.
    shas = {n: hashlib.sha1(text, usedforsecurity=False).hexdigest() for n, text in texts.items()}
    return {name: ScriptFile(text, shas[name].encode()) for name, text in texts.items()}


SCRIPT_FILES = _load()
