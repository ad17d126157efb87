"""The model's memory: named entries with a time to live, as Redis has them."""

from typing import Any, TypeVar

import msgspec

from pointsman_wire.coordination.keys import Keys
from pointsman_wire.coordination.requests import Owner, Seen
from pointsman_wire.coordination.terms import GAP_MS, MEMBERS_MAX, Terms

Value = TypeVar("Value")


class Entry(msgspec.Struct):
    """A value, and until when it lives; None: its number is bounded instead."""

    value: Any
    expires_at_ms: int | None


class BucketRow(msgspec.Struct):
    """One bucket: whose reign, who has called how often, who has published."""

    generation: str
    state: str
    seen_ms: int
    counters: dict[str, int]
    published: set[str]


class Entered(msgspec.Struct, frozen=True):
    """What a script learns first."""

    row: BucketRow | None
    counter: int
    is_open: bool

    @property
    def generation(self) -> str:
        return self.row.generation if self.row else ""


class Store:
    """All entries, and the instant that the scripts of one pipeline see."""

    def __init__(self, *, keys: Keys, terms: Terms, entries_max: int) -> None:
        self.keys = keys
        self.terms = terms
        self.entries: dict[str, Entry] = {}
        self.entries_max = entries_max
        self.now_ms = 0
        self.reign_number = 1

    @property
    def reign(self) -> str:
        """Names the primary's reign, as the replication id does."""
        return f"{self.reign_number:016x}"

    def is_full(self) -> bool:
        """Whether scripts that write are refused."""
        return len(self.entries) >= self.entries_max

    def get(self, name: str, kind: type[Value]) -> Value | None:
        """The value of that name, unless its time is over."""
        entry = self.entries.get(name)
        if entry is None:
            return None
        if entry.expires_at_ms is not None and entry.expires_at_ms <= self.now_ms:
            del self.entries[name]
            return None
        assert isinstance(entry.value, kind), f"{name} holds a {type(entry.value).__name__}"
        return entry.value

    def put(self, name: str, value: object, live_ms: int | None) -> None:
        """Set a value and its time to live."""
        self.entries[name] = Entry(value, None if live_ms is None else self.now_ms + live_ms)

    def drop(self, name: str) -> None:
        """Forget a value, where there is one."""
        self.entries.pop(name, None)

    def enter(self, bucket: int, owner: Owner, seen: Seen) -> Entered:
        """Raise the asker's counter; a bucket that has forgotten something is forgotten."""
        name = self.keys.bucket(bucket)
        row = self.get(name, BucketRow)
        if row is None:
            return Entered(None, 0, False)
        counter = row.counters.get(owner.member, 0)
        gone_back = seen.generation == row.generation and counter < seen.counter
        crowded = counter == 0 and len(row.counters) >= MEMBERS_MAX
        foreign = not row.generation.startswith(self.reign + ":")
        if foreign or gone_back or crowded or self.now_ms - row.seen_ms > GAP_MS:
            self.drop(name)
            return Entered(None, 0, False)
        row.seen_ms = self.now_ms
        row.counters[owner.member] = counter + 1
        is_open = row.state == "open" and seen.generation in ("", row.generation)
        return Entered(row, counter + 1, is_open)
