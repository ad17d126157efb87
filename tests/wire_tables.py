"""The tables of docs/protocol.md, made from the code; the prose around them is written by hand.

A table stands between `<!-- table NAME -->` and `<!-- end -->`.

    python tests/wire_tables.py --write   bring every table up to date
"""

import argparse
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import inspect
from wire_samples import UNIONS

from pointsman_wire import errors, limits
from pointsman_wire.framing import FrameDecoder, encode_frame
from pointsman_wire.messages import META_BYTES_MAX, META_DEPTH_MAX, META_VALUES_MAX, Error, Message
from pointsman_wire.preamble import Role, encode_preamble
from pointsman_wire.session_messages import SessionInit

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "protocol.md"
MEANINGS: dict[str, str] = tomllib.loads(
    Path(__file__).with_name("wire_meanings.toml").read_text(encoding="utf-8")
)
BLOCK = re.compile(r"<!-- table ([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)
KEYS_USED: set[str] = set()

LIMITS = {
    "FRAME_BYTES_MAX": "a frame, its first word included",
    "PAYLOAD_BYTES_MAX": "a payload",
    "HEADER_BYTES_MAX": "a header with the 8 bytes before it",
    "HEADER_TAKEN_BYTES_MAX": "a header that the server takes, which grows on its way",
    "HANDSHAKE_BYTES_MAX": "a frame of a peer that is not known yet",
    "REGISTER_BYTES_MAX": "the same on a control connection, for `register`",
    "HANDSHAKE_TIMEOUT_S": "seconds for the preamble and the first frame, together",
    "FRAME_ARRIVAL_TIMEOUT_S": "seconds for a frame, from its first byte to its last",
    "NODE_ID_LENGTH_MAX": "characters of a node id",
    "SESSION_ID_LENGTH_MAX": "characters of a session id",
    "REQUEST_ID_LENGTH_MAX": "characters of a request id",
    "MAX_CONCURRENCY_MAX": "jobs a node may run at once",
    "REPORTED_MAX": "jobs and held results in a `lane_report`",
    "WORKERS_MAX": "workers of a service",
}


def blocks() -> dict[str, str]:
    """Every table of the document, by its name."""
    KEYS_USED.clear()
    made = {name: _messages(union) for name, union in _tabled_unions().items()}
    made["shared"] = _struct(Error)
    parts = {part.__name__: part for union in UNIONS.values() for part in _parts_of(union)}
    made["parts"] = "\n".join(_struct(part) for _, part in sorted(parts.items()))
    made["errors"] = _errors()
    made["limits"] = _limits()
    made["example"] = _example()
    return made


def unused_meanings() -> set[str]:
    """Meanings of fields that are no more."""
    blocks()
    return set(MEANINGS) - KEYS_USED


def current_text(text: str) -> str:
    """Return the document with every table as it should be."""
    made = blocks()
    return BLOCK.sub(lambda m: f"<!-- table {m[1]} -->\n{made[m[1]]}<!-- end -->", text)


def _tabled_unions() -> dict[str, Any]:
    return {re.sub(r"\W+", "-", reader): union for reader, union in UNIONS.items()}


def _messages(union: Any) -> str:
    return "\n".join(_struct(member) for member in get_args(union) if member is not Error)


def _name(cls: type[Any]) -> str:
    """The name on the wire of a message, the same style for a part."""
    if issubclass(cls, Message):
        return str(cls.__struct_config__.tag)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


def _struct(cls: type[msgspec.Struct]) -> str:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    words = " ".join((cls.__doc__ or "").split()).replace("  ", " ")
    lines = [f"#### {_name(cls)}", "", words, ""]
    if info.fields:
        lines += ["| field | type | default | meaning |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in _rows(cls, info)]
        lines += [""]
    return "\n".join(lines)


def _rows(cls: type[Any], info: inspect.StructType) -> Iterator[tuple[str, str, str, str]]:
    for field in info.fields:
        default = "required" if field.required else f"`{_default(field)}`"
        yield f"`{field.name}`", _type(field.type), default, meaning(_name(cls), field.name)


def meaning(message: str, field: str) -> str:
    """Return what a field means.  Raises KeyError for one that wire_meanings.toml lacks."""
    key = f"{message}.{field}" if f"{message}.{field}" in MEANINGS else field
    KEYS_USED.add(key)
    return MEANINGS[key]


def _default(field: inspect.Field) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    match value:
        case None:
            return "nil"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}"
        case str():
            return f'"{value}"'
        case bytes():
            return "no bytes"
        case msgspec.Struct():
            return "{}"
    return str(value)


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.BoolType():
            return "bool"
        case inspect.IntType() | inspect.FloatType():
            word = "int" if isinstance(kind, inspect.IntType) else "number"
            return word + _range(kind)
        case inspect.StrType():
            return "text" + (f" ≤ {kind.max_length}" if kind.max_length else "")
        case inspect.BytesType():
            return "bytes"
        case inspect.AnyType():
            return "any"
        case inspect.LiteralType():
            return "one of " + ", ".join(f"`{value}`" for value in kind.values)
        case _:
            return _compound(kind)


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.gt is not None:
        return f" > {kind.gt:g}, ≤ {kind.le:g}"
    if kind.ge is None or abs(kind.ge) >= 1e9:
        return ""
    return f" ≥ {kind.ge:g}" + (f", ≤ {kind.le:g}" if kind.le and kind.le < 2**62 else "")


def _compound(kind: inspect.Type) -> str:
    match kind:
        case inspect.UnionType():
            return " or ".join(_type(t) for t in kind.types if t != inspect.NoneType()) + " or nil"
        case inspect.ListType():
            most = f"at most {kind.max_length} " if kind.max_length else ""
            return f"list of {most}{_type(kind.item_type)}"
        case inspect.TupleType():
            return f"[{', '.join(_type(t) for t in kind.item_types)}]"
        case inspect.DictType():
            most = f"at most {kind.max_length} " if kind.max_length else ""
            return f"map of {most}text to {_type(kind.value_type)}"
        case inspect.StructType():
            name = _name(kind.cls)
            return f"[{name}](#{name})"
    raise TypeError(kind)


def _parts_of(union: Any) -> Iterator[type[msgspec.Struct]]:
    waiting: list[inspect.Type] = [inspect.type_info(member) for member in get_args(union)]
    while waiting:
        match waiting.pop():
            case inspect.StructType() as struct:
                waiting += [field.type for field in struct.fields]
                if not issubclass(struct.cls, Message):
                    yield struct.cls
            case inspect.UnionType(types=types):
                waiting += types
            case inspect.ListType(item_type=item) | inspect.DictType(value_type=item):
                waiting.append(item)


def _errors() -> str:
    lines = ["| code | retryable | whose fault | what to do |", "|---|---|---|---|"]
    for code, told in errors.MEANINGS.items():
        retryable = "yes" if told.retryable else "no"
        lines.append(f"| `{code.value}` | {retryable} | {told.fault.value} | {told.hint} |")
    return "\n".join(lines) + "\n"


def _limits() -> str:
    lines = ["| bound | value |", "|---|---|"]
    for name, words in LIMITS.items():
        value = round(getattr(limits, name))
        unit = " bytes" if "BYTES" in name else " s" if name.endswith("_S") else ""
        lines.append(f"| {words.removeprefix('seconds ')} | {value:,}{unit} |")
    lines.append(f"| meta: levels of nesting | {META_DEPTH_MAX} |")
    lines.append(f"| meta: values in all | {META_VALUES_MAX:,} |")
    lines.append(
        f"| meta: as msgpack, what our clients and nodes send | {META_BYTES_MAX:,} bytes |"
    )
    return "\n".join(lines) + "\n"


def _example() -> str:
    hello = encode_preamble(Role.SESSION)
    frame = encode_frame(SessionInit(src_lang="en", tgt_lang="es"), b"")
    (header, _) = next(FrameDecoder().feed(frame))
    parts = {
        "preamble: magic, version 1, role 1, flag any, no key": hello,
        "length of the frame after this word": frame[:4],
        "length of the header": frame[4:8],
        "header: a map of three": header[:3],
        "type: session_init": header[3:21],
        "src_lang: en": header[21:33],
        "tgt_lang: es": header[33:],
    }
    assert b"".join(parts.values()) == hello + frame
    rows = [f"{part.hex(' ')}\n    {words}\n" for words, part in parts.items()]
    return "```text\n" + "".join(rows) + "```\n"


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", required=True)
    parser.parse_args()
    DOCUMENT.write_text(current_text(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
