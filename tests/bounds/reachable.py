"""How much everything holds that can be reached from an object: lengths, by whose field they are.

A table is named by its owner's class and field, so all of a kind are counted together, and what is
never let go shows as a number that grows.
"""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from functools import partial
from mmap import mmap
from types import FunctionType, MethodType, ModuleType

import msgspec

PLAIN = (str, bytes, bytearray, memoryview, int, float, type(None), type, ModuleType, Enum, mmap)
TABLES = (dict, list, tuple, set, frozenset, deque)


def lengths(root: object) -> Counter[str]:
    """Return the sum of the lengths of all tables of each name, and the number of each object."""
    found: Counter[str] = Counter()
    seen: dict[int, object] = {}
    todo: list[tuple[str, object]] = [("root", root)]
    while todo:
        name, one = todo.pop()
        if isinstance(one, PLAIN) or id(one) in seen:
            continue
        seen[id(one)] = one
        if isinstance(one, TABLES):
            found[name] += len(one)
        else:
            found[type(one).__name__] += 1
        todo += _parts(name, one)
    return found


def _parts(name: str, one: object) -> Iterator[tuple[str, object]]:
    if isinstance(one, dict):
        yield from ((f"{name} keys", key) for key in one)
        yield from ((f"{name} values", value) for value in one.values())
    elif isinstance(one, TABLES):
        yield from ((f"{name} items", value) for value in one)
    elif isinstance(one, FunctionType):
        yield from ((f"{one.__qualname__} closed over", value) for value in _closed_over(one))
    elif isinstance(one, MethodType):
        yield name, one.__self__
    elif isinstance(one, partial):
        yield from ((name, value) for value in (one.func, one.args, one.keywords))
    else:
        yield from ((f"{type(one).__name__}.{field}", value) for field, value in _fields(one))


def _closed_over(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # not filled yet
            yield cell.cell_contents


def _fields(one: object) -> Iterator[tuple[str, object]]:
    names = dict.fromkeys(vars(one) if hasattr(one, "__dict__") else ())
    if isinstance(one, msgspec.Struct):
        names.update(dict.fromkeys(one.__struct_fields__))
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names.update(dict.fromkeys([slots] if isinstance(slots, str) else slots))
    for name in names:
        if name not in ("__dict__", "__weakref__") and hasattr(one, name):
            yield name, getattr(one, name)
