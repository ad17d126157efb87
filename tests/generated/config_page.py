"""docs/config.md: every key of the configuration, from the structs that read it and their comments.

What a key means is the comment beside it: at the end of its line, or on the lines before it.  A
comment that goes on over several keys ("this many, / of the last this many") is told as it stands.
"""

import inspect
import io
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from pointsman_shm.config import Config
from pointsman_shm.config_live import HOT_KEYS, HOT_SECTIONS

MEANINGS = Path(__file__).with_name("config_meanings.toml")

OPENING = """\
# Configuration

One TOML file, `pointsman serve --config FILE`; without one every key has its default, which makes
a whole service on loopback. `pointsman config check FILE` says whether a file is right, and what
it changes; `pointsman config diff FILE` what it would change in the service that runs. The file
must not be writable by group or others.

`pointsman reload`, or SIGHUP to the manager (`systemctl reload pointsman-manager`), has the file
read again. It is judged whole; then either all that differs is in force, in one version of the
snapshot, or nothing is and the answer says why. Keys that the tables call live change while the
service runs, in every worker with the same version; a change of any other needs a restart, and a
file with such a change is not applied at all. What was accepted goes on: a lower limit refuses
what comes, and `jobs_max` of a tenant that had none counts jobs from then on. Tenants are listed
and struck off with what they have waiting; all of `[tenants]` needs a restart where instances
share a fleet through Redis. `pointsman log-level` changes how much is logged for a while: until the
process ends, or the file asks for another `logs.level`. `pointsman tokens` says who may come.

No secret stands in the file: it names files that hold them, and those of Redis may come from the
environment (`POINTSMAN_REDIS_PASSWORD`, `POINTSMAN_SENTINEL_PASSWORD`, `POINTSMAN_CLUSTER_KEY`).
Nothing else is read from the environment.

This page is made from the code (`shm/pointsman_shm/config.py` and the files that it names).
"""


def config_page(_: str) -> str:
    """Return the whole page."""
    parts = [OPENING]
    told = tomllib.loads(MEANINGS.read_text("utf-8"))
    for field in msgspec.structs.fields(Config):
        parts += _section(field.name, field.type, told)
    assert not told, f"{MEANINGS.name} tells of keys that are not there or have a comment: {told}"
    return "\n".join(parts)


def _section(name: str, section: type[msgspec.Struct], told: dict[str, str]) -> Iterator[str]:
    yield f"## [{name}]\n\n{inspect.getdoc(section)}\n"
    yield from _table(name, section, told)
    yield ""
    for field in msgspec.structs.fields(section):
        for inner in _structs_in(field.type):
            yield f"### Of {name}.{field.name}\n\n{inspect.getdoc(inner)}\n"
            yield from _table(f"{name}.{field.name}", inner, told)
            yield ""


def _table(name: str, section: type[msgspec.Struct], told: dict[str, str]) -> Iterator[str]:
    meanings = _meanings(section)
    yield "| key | type and bounds | default | change | meaning |"
    yield "|---|---|---|---|---|"
    hints = get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        cells = [f"`{field.name}`", _type(hints[field.name]), _default(field)]
        meaning = meanings.get(field.name) or told.pop(f"{name}.{field.name}", "")
        assert meaning, f"{name}.{field.name}: say what it means beside it or in {MEANINGS.name}"
        cells += [_change(f"{name}.{field.name}"), meaning]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _change(path: str) -> str:
    """Return when a change of a key holds: "live" at a reload."""
    section, key = path.split(".")[:2]
    if section in HOT_SECTIONS:
        return "live"
    if path == "tenants.listed.name" or key not in HOT_KEYS.get(section, ()):
        return "restart"
    return "live"


def _meanings(section: type[msgspec.Struct]) -> dict[str, str]:
    """Return the comment of each field, by the lines of the class that declares it."""
    made: dict[str, str] = {}
    for owner in reversed(section.__mro__):
        if owner.__module__.startswith("pointsman"):
            made |= _meanings_declared(owner)
    return made


def _meanings_declared(owner: type) -> dict[str, str]:
    before: list[str] = []
    current = ""
    made: dict[str, str] = {}
    source = inspect.cleandoc(inspect.getsource(owner))
    depth, is_start = 0, True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and is_start:
            before.append(token.string.lstrip("# "))
        elif token.type == tokenize.COMMENT and "noqa" not in token.string:
            made[current] = " ".join((made.get(current, "") + " " + token.string[2:]).split())
        elif token.type == tokenize.NAME and is_start:
            current, is_start = token.string, False
            made[current], before = " ".join(before), []
        elif token.type == tokenize.OP:
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.string, 0)
        if token.type in (tokenize.NEWLINE, tokenize.NL) and depth == 0:
            is_start = True
    return made


def _type(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *metas = get_args(hint)
        bounds = [_bounds(meta) for meta in metas if isinstance(meta, msgspec.Meta)]
        return ", ".join([_type(inner), *filter(None, bounds)])
    if origin is Literal:
        return "one of " + ", ".join(f"`{word}`" for word in get_args(hint))
    if origin in (Union, UnionType):
        return _type(next(part for part in get_args(hint) if part is not NoneType))
    if origin in (tuple, list):
        inner = [part for part in get_args(hint) if part is not Ellipsis]
        return f"list of {_type(inner[0])}" if len(inner) == 1 else "pair"
    if origin is dict:
        return "table"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return "table"
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}[hint]


def _bounds(meta: msgspec.Meta) -> str:
    low = meta.ge if meta.ge is not None else meta.gt
    high = meta.le if meta.le is not None else meta.lt
    words = []
    if low is not None:
        words.append(f"{'from' if meta.ge is not None else 'above'} {low:,}")
    if high is not None:
        words.append(f"{'to' if meta.le is not None else 'below'} {high:,}")
    if meta.max_length is not None:
        words.append(f"at most {meta.max_length:,} long")
    if meta.pattern is not None:
        words.append(f"like `{meta.pattern}`")
    return " ".join(words)


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, msgspec.Struct):
        return "as below"
    return f"{len(value)} entries" if value else "`[]`"


def _structs_in(hint: Any) -> list[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    return [found for part in get_args(hint) for found in _structs_in(part)]
