"""What happened in a run: a hash over all of it, the last turns in full, and counts.

The hash covers every command of every turn, byte for byte, with its instant; two runs of one seed
must give the same one, whatever the machine and whatever the order of its hash tables.
"""

from collections import Counter, deque
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from pointsman_sim.world.schedule import Schedule

LINE_LENGTH_MAX = 400
_encode = msgspec.msgpack.Encoder().encode


class Violation(AssertionError):
    """A promise was broken: which one, and how."""

    def __init__(self, promise: str, words: str) -> None:
        super().__init__(f"{promise}: {words}")
        self.promise = promise
        self.words = words


class Entry(msgspec.Struct, frozen=True):
    """One turn of a core, or a note about what was done to the cluster."""

    at_ns: int
    who: str
    happened: Sequence[object]
    wished: Sequence[object]
    words: str = ""

    def lines(self) -> list[str]:
        """Return the entry for people."""
        head = f"{self.at_ns / 1e9:12.6f}  {self.who:<12}"
        if self.words:
            return [f"{head} ** {self.words}"]
        told = [f"{head} <- {event}" for event in self.happened]
        said = [f"{head} -> {command}" for command in self.wished]
        return [line[:LINE_LENGTH_MAX] for line in (*told, *said)]


class History:
    """Recorded as it happens."""

    def __init__(self, schedule: Schedule, tail: int) -> None:
        self._schedule = schedule
        self._hash = blake2b(digest_size=16)
        self._tail: deque[Entry] = deque(maxlen=tail)
        self.turns = 0
        # How often what happened: faults by name, answers by kind, messages by type.
        self.counts: Counter[str] = Counter()

    def turn(self, who: str, happened: Sequence[object], wished: Sequence[object]) -> None:
        """Record one turn of a core."""
        now_ns = self._schedule.now_ns
        self.turns += 1
        for event in happened:
            self.counts[type(event).__name__] += 1
        self._hash.update(_encode((now_ns, who, wished)))
        if happened or wished:
            self._tail.append(Entry(now_ns, who, happened, wished))

    def note(self, who: str, what: str, detail: str = "") -> None:
        """Record something that no core did: a death, a fault, an answer to a client."""
        words = f"{what} {detail}" if detail else what
        self._hash.update(f"{self._schedule.now_ns}{who}{words}".encode())
        self._tail.append(Entry(self._schedule.now_ns, who, (), (), words))

    @property
    def trace_hash(self) -> str:
        """Return the hash of everything so far."""
        return self._hash.hexdigest()

    def tail_lines(self) -> list[str]:
        """Return the last turns that had anything in them, for people."""
        return [line for entry in self._tail for line in entry.lines()]
