"""What differs between two configurations, in words: "pools.mode: two_level -> single_level"."""

from collections.abc import Iterator
from typing import Any

import msgspec

from pointsman_shm.config import Config
from pointsman_shm.config_live import with_hot

NOTHING = "(none)"
_ABSENT = object()


def differences(old: Config, new: Config) -> list[str]:
    """Return what changes from one to the other, in the order of the sections."""
    return list(_compare("", msgspec.to_builtins(old), msgspec.to_builtins(new)))


def hot_differences(
    old: Config, new: Config, *, is_alone: bool = True
) -> tuple[list[str], list[str]]:
    """Return (what can change while the service runs, what needs a restart).

    `is_alone`: the service shares its fleet with no other instance.
    """
    applied = with_hot(old, new, is_alone=is_alone)
    return differences(old, applied), differences(applied, new)


def _compare(key: str, old: Any, new: Any) -> Iterator[str]:
    old, new = _keyed(old), _keyed(new)
    if old == new:
        return
    if isinstance(old, dict) and not new:
        new = {}
    if isinstance(new, dict) and not old:
        old = {}
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{key}.{name}" if key else str(name)
            yield from _compare(inner, old.get(name, _ABSENT), new.get(name, _ABSENT))
    else:
        yield f"{key}: {_words(old)} -> {_words(new)}"


def _keyed(value: Any) -> Any:
    """Turn a list of named things, or of pairs, into a table, so that each is told by its name."""
    if not isinstance(value, list | tuple) or not value:
        return value
    if all(isinstance(item, dict) and "name" in item for item in value):
        return {item["name"]: item for item in value}
    if all(isinstance(item, list | tuple) and len(item) == 2 for item in value):
        return dict(value)
    return value


def _words(value: Any) -> str:
    if value is _ABSENT or value is None:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_words, value))}]"
    if isinstance(value, dict):
        inner = (f"{name} = {_words(item)}" for name, item in value.items() if item is not None)
        return f"{{{', '.join(inner)}}}"
    return str(value) if value != "" else '""'
