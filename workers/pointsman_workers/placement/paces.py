"""Paces: how long nodes take for which work, as this worker has seen it, and who has just joined.

A pace belongs to one set of service types.  Per row it keeps a decaying average of the service time
and, ready to be read by every decision, the slowness that orders candidates (rules/load.py).  All
lies in dense arrays that are bounded together; work for which there is no room left, or of which
nothing is known, shares one array in which only slow starts show.

An average that has got no news for a while is forgotten, so that a node that was slow once, and
therefore gets little, is tried again.

Lacks: models that nodes have just said they lack, until the manager's mark is there.  That comes by
way of the manager and the next snapshot; a job that has just failed for want of a model would be
back at the same node before, if nobody else has room, and use up its attempts in a millisecond.
"""

from array import array
from collections.abc import Iterable
from itertools import islice

from pointsman_shm.rules.load import (
    DISTANCE_TERM,
    OBSERVATIONS_MIN,
    slow_start_term,
    speed_term,
)

DECAY = 0.1  # the weight of the newest observation, once there are ten
PACES_MAX = 64
BYTES_MAX = 32 * 1024 * 1024
BYTES_PER_ROW = 4 + 1 + 4  # mean, count, slowness
FORGET_NS = 60_000_000_000
FRESHENED_A_TICK = 256
WARMED_A_TICK = 512
LACKS_KNOWN_NS = 1_000_000_000  # then the mark is there, unless the node has had too many
LACKS_MAX = 1_024

Types = tuple[str, ...]
Lack = tuple[int, int, str]  # row, generation, service


class Pace:
    """Service times of one kind of work, in nanoseconds, by row."""

    __slots__ = ("_paces", "counts", "known", "known_sum", "means", "overall", "slowness")

    def __init__(self, paces: "Paces", slowness: "array[float]") -> None:
        size = len(slowness)
        self._paces = paces
        self.means = array("f", bytes(4 * size))
        self.counts = array("B", bytes(size))
        self.slowness = array("f", slowness)
        self.known: dict[int, int] = {}  # rows with enough observations: when the last one came
        self.known_sum = 0.0  # of their means
        self.overall = 0.0  # decaying average over all nodes, 0 before the first observation

    def observe(self, row: int, service_ns: int, now_ns: int) -> None:
        """Take in how long the node in this row took.

        Of what it ended at one instant, which one read has brought, the first stands for all:
        whoever finds that instant in `known` need not tell of another.
        """
        means, known, paces = self.means, self.known, self._paces
        observed_at_ns = known.get(row)
        if observed_at_ns == now_ns:
            return
        mean = means[row]
        if observed_at_ns is not None:
            self.overall += (service_ns - self.overall) * DECAY
            means[row] = mean + (service_ns - mean) * DECAY
        elif not self._is_enough(row, service_ns):
            return
        else:
            mean = 0.0  # it was not in the sum
        known[row] = now_ns
        stored = means[row]  # rounded
        self.known_sum = known_sum = self.known_sum - mean + stored
        speed = speed_term(stored, known_sum / len(known)) if known_sum > 0 else 1.0
        if paces.warming or paces.distant:
            speed *= paces.beside_speed(row, now_ns)
        self.slowness[row] = speed

    def _is_enough(self, row: int, service_ns: int) -> bool:
        """Take in one observation of a row of which little is known: is it enough now?"""
        self.overall += (service_ns - self.overall) * (DECAY if self.overall else 1.0)
        self.counts[row] = count = self.counts[row] + 1
        self.means[row] += (service_ns - self.means[row]) * max(DECAY, 1 / count)
        return count >= OBSERVATIONS_MIN

    def speed(self, row: int) -> float:
        """The speed term of a row."""
        if row not in self.known or self.known_sum <= 0:
            return 1.0
        return speed_term(self.means[row], self.known_sum / len(self.known))

    def expected_ns(self, row: int) -> float | None:
        """How long this work takes on this node, or else on any, None if nobody knows."""
        return (self.means[row] if self.counts[row] else self.overall) or None

    def forget(self, row: int) -> None:
        """Know nothing of a row."""
        if self.known.pop(row, None) is not None:
            self.known_sum -= self.means[row]
        self.counts[row] = 0
        self.means[row] = 0.0


class Paces:
    """All paces of a worker, and the rows that are in their slow start."""

    def __init__(self, max_nodes: int) -> None:
        self.even = array("f", [1.0]) * max_nodes  # the slowness where no speed is known
        self.slow_start_ns = 0
        self._count_max = min(PACES_MAX, BYTES_MAX // (BYTES_PER_ROW * max_nodes))
        self._paces: dict[Types, Pace] = {}
        self.warming: dict[int, int] = {}  # row -> when it joined
        self.distant: set[int] = set()  # rows of nodes of other instances
        self._first_joined_ns: int | None = None

    def slowness(self, types: Types) -> "array[float]":
        """By row: what orders candidates for this work.  Shared, and kept current."""
        pace = self._paces.get(types)
        return self.even if pace is None else pace.slowness

    def of(self, types: Types) -> Pace | None:
        """Return the pace of this work, which begins here if need be; None: there is no room."""
        pace = self._paces.get(types)
        if pace is None and len(self._paces) < self._count_max:
            pace = self._paces[types] = Pace(self, self.even)
        return pace

    def expected_ns(self, types: Types, row: int) -> float | None:
        """How long this work is expected to take on this node, None if nobody knows."""
        pace = self._paces.get(types)
        return None if pace is None else pace.expected_ns(row)

    def joined(self, row: int, now_ns: int, *, is_distant: bool = False) -> None:
        """A node is new in this row; in a fleet that has run for a while it starts slowly."""
        if is_distant:
            self.distant.add(row)
        else:
            self.distant.discard(row)
        if self._first_joined_ns is None:
            self._first_joined_ns = now_ns
        for pace in self._paces.values():
            pace.forget(row)
        self.warming.pop(row, None)
        if now_ns - self._first_joined_ns >= self.slow_start_ns > 0:
            self.warming[row] = now_ns
        self._settle_all(row, now_ns)

    def tick(self, now_ns: int) -> None:
        """Let slow starts go on, and bring some of what is known up to what became of the means."""
        # Some at a time, each then going to the end of the line: a whole fleet may have joined.
        for row in tuple(islice(self.warming, WARMED_A_TICK)):
            joined_at_ns = self.warming.pop(row)
            if now_ns - joined_at_ns < self.slow_start_ns:
                self.warming[row] = joined_at_ns
            self._settle_all(row, now_ns)
        for pace in self._paces.values():
            self._freshen(pace, now_ns, FRESHENED_A_TICK // len(self._paces) + 1)

    def _freshen(self, pace: Pace, now_ns: int, count: int) -> None:
        """The rows that were looked at longest ago, each going to the end of the line."""
        for row in tuple(islice(pace.known, count)):
            observed_at_ns = pace.known[row]
            if now_ns - observed_at_ns >= FORGET_NS:
                pace.forget(row)
            else:
                del pace.known[row]
                pace.known[row] = observed_at_ns
            self._settle(pace, row, now_ns)

    def _settle_all(self, row: int, now_ns: int) -> None:
        self.even[row] = self.beside_speed(row, now_ns)
        for pace in self._paces.values():
            self._settle(pace, row, now_ns)

    def _settle(self, pace: Pace, row: int, now_ns: int) -> None:
        pace.slowness[row] = pace.speed(row) * self.beside_speed(row, now_ns)

    def beside_speed(self, row: int, now_ns: int) -> float:
        """What orders the row's node beside its speed."""
        distance = DISTANCE_TERM if row in self.distant else 1.0
        return distance * self._slow_start(row, now_ns) if self.warming else distance

    def _slow_start(self, row: int, now_ns: int) -> float:
        joined_at_ns = self.warming.get(row)
        if joined_at_ns is None:
            return 1.0
        return slow_start_term(now_ns - joined_at_ns, self.slow_start_ns)


class Lacks:
    """What nodes lack, as this worker has heard it of late; what was heard first comes first."""

    def __init__(self) -> None:
        self._until_ns: dict[Lack, int] = {}

    def note(self, row: int, generation: int, services: Iterable[str], now_ns: int) -> None:
        """The node lacks the model of one of these services."""
        self._expire(now_ns)
        for service in services:
            self._until_ns.pop((row, generation, service), None)
            self._until_ns[row, generation, service] = now_ns + LACKS_KNOWN_NS
        while len(self._until_ns) > LACKS_MAX:
            del self._until_ns[next(iter(self._until_ns))]

    def places(self, services: tuple[str, ...], now_ns: int) -> set[tuple[int, int]]:
        """Return (row, generation) of each node that lacks one of these."""
        self._expire(now_ns)
        return {
            (row, generation) for row, generation, service in self._until_ns if service in services
        }

    def _expire(self, now_ns: int) -> None:
        while self._until_ns:
            lack, until_ns = next(iter(self._until_ns.items()))
            if until_ns > now_ns:
                break
            del self._until_ns[lack]
