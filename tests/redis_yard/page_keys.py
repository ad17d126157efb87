"""The table of keys of docs/redis.md, held against the keys that a fleet has left in its Redis."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from redis_yard.rights import PAGE
from redis_yard.server import RedisServer

ROW = re.compile(r"^\| `pointsman:\{[^}]+\}:([a-z-]+)[^`]*` \| ([a-z ]+)[^|]*\| ([^|]*) \|", re.M)
DAY_MS = 86_400_000
LASTING = "bucket"  # 64 of them, whatever happens


class Row(NamedTuple):
    """What the page says of a kind of key: its type, and the fields of a hash."""

    type: str
    fields: frozenset[str]


def rows() -> dict[str, Row]:
    """Return the rows by kind, which is the word after the braces."""
    found = {}
    for kind, of_type, example in ROW.findall(PAGE.read_text("utf-8")):
        fields = (name.partition(":")[0] for name in re.findall(r"`([^`]+)` ?", example))
        name = {"sorted set": "zset"}.get(of_type.strip(), of_type.strip())
        found[kind] = Row(name, frozenset(fields))
    return found


def unlike_the_page(server: RedisServer) -> Iterator[str]:
    """I10: yield, in words, each key that the page does not know so, or that nothing removes."""
    table = rows()
    for key in sorted(server.keys()):
        kind = re.split(r"[:}]", key.partition("}:")[2])[0]
        row = table.get(kind)
        life_ms, of_type = server.command("PTTL", key), server.command("TYPE", key).decode()
        if life_ms == -2:
            continue  # it has gone since
        if row is None or row.type != of_type:
            yield f"{key} is a {of_type}; the page says {row}"
        elif (life_ms == -1) != (kind == LASTING) or life_ms > DAY_MS:
            yield f"{key} lives for {life_ms} ms"
        elif of_type == "hash" and (more := _fields(server, key) - row.fields) and row.fields:
            yield f"{key} has fields that the page does not name: {more}"


def _fields(server: RedisServer, key: str) -> set[str]:
    return {field.decode().partition(":")[0] for field in server.command("HKEYS", key)}
