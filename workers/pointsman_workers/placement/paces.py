"""Paces: how long nodes take for which work, as this worker has seen it, and who has just joined.

A pace belongs to one set of service types.  Per row it keeps a decaying average of the service time
and, ready to be read by every decision, the slowness that orders candidates (rules/load.py).  All
lies in dense arrays that are bounded together; work for which there is no room left, or of which
nothing is known, shares one array in which only slow starts show.

An average that has got no news for a while is forgotten, so that a node that was slow once, and
therefore gets little, is tried again.
"""

from array import array
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

Types = tuple[str, ...]


class Pace:
    """Service times of one kind of work, in nanoseconds, by row."""

    __slots__ = ("counts", "known", "known_sum", "means", "overall", "slowness")

    def __init__(self, slowness: "array[float]") -> None:
        size = len(slowness)
        self.means = array("f", bytes(4 * size))
        self.counts = array("B", bytes(size))
        self.slowness = array("f", slowness)
        self.known: dict[int, int] = {}  # rows with enough observations: when the last one came
        self.known_sum = 0.0  # of their means
        self.overall = 0.0  # decaying average over all nodes, 0 before the first observation

    def observe(self, row: int, service_ns: int, now_ns: int) -> float:
        """Take in one observation; returns the speed term of the row, as it is now."""
        means, known = self.means, self.known
        mean = means[row]
        self.overall += (service_ns - self.overall) * (DECAY if self.overall else 1.0)
        if row not in known:
            count = self.counts[row] + 1
            means[row] = mean + (service_ns - mean) * max(DECAY, 1 / count)
            self.counts[row] = count
            if count < OBSERVATIONS_MIN:
                return 1.0
            mean = 0.0  # it was not in the sum
        else:
            means[row] = mean + (service_ns - mean) * DECAY
        known[row] = now_ns
        stored = means[row]  # rounded
        self.known_sum = known_sum = self.known_sum - mean + stored
        return speed_term(stored, known_sum / len(known)) if known_sum > 0 else 1.0

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
        self._warming: dict[int, int] = {}  # row -> when it joined
        self._distant: set[int] = set()  # rows of nodes of other instances
        self._first_joined_ns: int | None = None

    def slowness(self, types: Types) -> "array[float]":
        """By row: what orders candidates for this work.  Shared, and kept current."""
        pace = self._paces.get(types)
        return self.even if pace is None else pace.slowness

    def observe(self, types: Types, row: int, service_ns: int, now_ns: int) -> "array[float]":
        """A node has done this work in this time; returns where its slowness stands now."""
        pace = self._paces.get(types)
        if pace is None:
            if len(self._paces) >= self._count_max:
                return self.even
            pace = self._paces[types] = Pace(self.even)
        speed = pace.observe(row, service_ns, now_ns)
        slowness = pace.slowness
        is_plain = not (self._warming or self._distant)
        slowness[row] = speed if is_plain else speed * self._beside_speed(row, now_ns)
        return slowness

    def expected_ns(self, types: Types, row: int) -> float | None:
        """How long this work is expected to take on this node, None if nobody knows."""
        pace = self._paces.get(types)
        return None if pace is None else pace.expected_ns(row)

    def joined(self, row: int, now_ns: int, *, is_distant: bool = False) -> None:
        """A node is new in this row; in a fleet that has run for a while it starts slowly."""
        if is_distant:
            self._distant.add(row)
        else:
            self._distant.discard(row)
        if self._first_joined_ns is None:
            self._first_joined_ns = now_ns
        for pace in self._paces.values():
            pace.forget(row)
        self._warming.pop(row, None)
        if now_ns - self._first_joined_ns >= self.slow_start_ns > 0:
            self._warming[row] = now_ns
        self._settle_all(row, now_ns)

    def tick(self, now_ns: int) -> None:
        """Let slow starts go on, and bring some of what is known up to what became of the means."""
        # Some at a time, each then going to the end of the line: a whole fleet may have joined.
        for row in tuple(islice(self._warming, WARMED_A_TICK)):
            joined_at_ns = self._warming.pop(row)
            if now_ns - joined_at_ns < self.slow_start_ns:
                self._warming[row] = joined_at_ns
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
        self.even[row] = self._beside_speed(row, now_ns)
        for pace in self._paces.values():
            self._settle(pace, row, now_ns)

    def _settle(self, pace: Pace, row: int, now_ns: int) -> None:
        pace.slowness[row] = pace.speed(row) * self._beside_speed(row, now_ns)

    def _beside_speed(self, row: int, now_ns: int) -> float:
        distance = DISTANCE_TERM if row in self._distant else 1.0
        return distance * self._slow_start(row, now_ns) if self._warming else distance

    def _slow_start(self, row: int, now_ns: int) -> float:
        joined_at_ns = self._warming.get(row)
        if joined_at_ns is None:
            return 1.0
        return slow_start_term(now_ns - joined_at_ns, self.slow_start_ns)
