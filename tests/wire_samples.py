"""One sample of every message, each field filled with something that is not its default.

The samples are made from the types alone and do not depend on the order of fields, so that a
new field changes nothing but itself.
"""

from typing import Any, TypeVar, get_args
from zlib import crc32

import msgspec
from msgspec import inspect

from pointsman_wire.admin_messages import AdminAnswer, AdminQuery
from pointsman_wire.control_messages import ToManager, ToNode
from pointsman_wire.coordination.instance_messages import Entry
from pointsman_wire.lane_messages import LaneToNode, LaneToWorker
from pointsman_wire.messages import Message
from pointsman_wire.order_messages import Order, OrderAnswer
from pointsman_wire.session_messages import ToClient, ToWorker

# Who reads -> what it understands.
UNIONS: dict[str, Any] = {
    "worker, from a client": ToWorker,
    "client": ToClient,
    "manager": ToManager,
    "node, from the manager": ToNode,
    "worker, from a node": LaneToWorker,
    "node, from a worker": LaneToNode,
    "worker, from another instance": Entry,
    "any process, on its admin socket": AdminQuery,
    "command line": AdminAnswer,
    "manager or worker, on its admin socket": Order,
    "command line, of an order": OrderAnswer,
}

S = TypeVar("S")

META = {"text": "¿dónde?", "number": -3, "list": [1, 2.5, None, True], "map": {"raw": b"\x00\xff"}}


def message_types() -> dict[str, type[Message]]:
    """Every message that crosses a socket, by its name on the wire."""
    found: dict[str, type[Message]] = {}
    for union in UNIONS.values():
        for member in get_args(union):
            found[str(member.__struct_config__.tag)] = member
    return found


def samples() -> dict[str, Message]:
    """A full sample of every message, by its name on the wire."""
    return {name: sample(cls) for name, cls in message_types().items()}


def union_of(message: Message) -> Any:
    """Return a union that the message is part of."""
    return next(union for union in UNIONS.values() if type(message) in get_args(union))


def sample(cls: type[S]) -> S:
    """Return an instance with every field away from its default."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    made = cls(**{f.name: _value(f.type, f.name, f.default) for f in info.fields})
    for field in info.fields:
        assert field.default != getattr(made, field.name), f"{cls.__name__}.{field.name}"
    return made


def _value(kind: inspect.Type, name: str, default: object = None) -> Any:
    number = 1 + crc32(name.encode()) % 60
    match kind:
        case inspect.BoolType():
            return default is not True
        case inspect.IntType():
            return number
        case inspect.FloatType():
            return number + 0.5
        case inspect.StrType():
            return f"{name}-{number}"[: kind.max_length or 64]
        case inspect.BytesType():
            return bytes([0, number, 254, 255])
        case inspect.LiteralType():
            return next(value for value in sorted(kind.values, key=str) if value != default)
        case inspect.AnyType():
            return META
        case _:
            return _compound(kind, name)


def _compound(kind: inspect.Type, name: str) -> Any:
    match kind:
        case inspect.UnionType():
            return _value(next(t for t in kind.types if type(t) is not inspect.NoneType), name)
        case inspect.ListType():
            return [_value(kind.item_type, f"{name}.{i}") for i in range(2)]
        case inspect.TupleType():
            return tuple(_value(t, f"{name}.{i}") for i, t in enumerate(kind.item_types))
        case inspect.DictType(value_type=inspect.AnyType()):
            return META
        case inspect.DictType():
            return {f"{name}.key": _value(kind.value_type, name)}
        case inspect.StructType():
            return sample(kind.cls)
    raise TypeError(kind)


def as_map(message: Message) -> dict[str, Any]:
    """Return the header as a plain map, the way another language sees it."""
    decoded: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
    return decoded
