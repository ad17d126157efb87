"""A page of counters, gauges and histograms per process, with one writer and any readers.

      word                field       written by
    +--------------------+-----------+-----------------------------------------------------+
    | 0 .. 7             | header    | creator                                             |
    | 8                  | heartbeat | the process: monotonic ns of its last turn          |
    | 9                  | process   | the process: its id                                 |
    | 10 .. 15           | spare     |                                                     |
    | 16 ..              | counters  | the process                                         |
    | then               | gauges    | the process                                         |
    | then               | refusals  | the process: a count per selector and reason        |
    | then, per timing   | total     | the process: nanoseconds in all                     |
    |                    | buckets   | the process: 106 counts                             |
    +--------------------+-----------+-----------------------------------------------------+

Buckets: 0 is below 1,024 ns; then four per octave, equally wide inside their octave, up to 2**36 ns
(68.7 s); the last is everything longer.  So a quantile is wrong by at most a quarter of itself.
Words are read one by one: a view may be one event apart from itself, never torn inside a word.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import msgspec

from pointsman_shm.memory.header import (
    HEADER_WORDS,
    LayoutMismatch,
    SegmentUnready,
    Shape,
    check_header,
    open_words,
)
from pointsman_shm.memory.stats_names import (
    REFUSAL_REASONS,
    SELECTORS,
    Counter,
    Gauge,
    Timing,
)

LAYOUT = 2
SHORTEST_BITS = 11  # 1,024 ns has this bit length: what is shorter is one bucket
LONGEST_BITS = 36
BUCKET_COUNT = 1 + 4 * (LONGEST_BITS - SHORTEST_BITS + 1) + 1

_HEARTBEAT = HEADER_WORDS
_PROCESS = HEADER_WORDS + 1
_COUNTERS = 2 * HEADER_WORDS
_GAUGES = _COUNTERS + len(Counter)
_REFUSALS = _GAUGES + len(Gauge)
_REFUSAL_AT = {
    (selector, reason): _REFUSALS + row * len(REFUSAL_REASONS) + column
    for row, selector in enumerate(SELECTORS)
    for column, reason in enumerate(REFUSAL_REASONS)
}
_TIMINGS = _REFUSALS + len(_REFUSAL_AT)
_TIMING_WORDS = 1 + BUCKET_COUNT
_WORD_COUNT = _TIMINGS + len(Timing) * _TIMING_WORDS
_TOTAL_AT = {timing: _TIMINGS + timing * _TIMING_WORDS for timing in Timing}
HEAD_BYTES = 8 * (_HEARTBEAT + 1)  # what `beat_in` needs of a page
# Names of enum members are made anew whenever they are asked for.
_COUNTER_NAMES = tuple(counter.name.lower() for counter in Counter)
_GAUGE_NAMES = tuple(gauge.name.lower() for gauge in Gauge)
_TIMING_NAMES = tuple(timing.name.lower() for timing in Timing)


def bucket_of(duration_ns: int) -> int:
    """Return the bucket of a duration of 0 ns or more."""
    bits = duration_ns.bit_length()
    if bits < SHORTEST_BITS:
        return 0
    if bits > LONGEST_BITS:
        return BUCKET_COUNT - 1
    return 1 + 4 * (bits - SHORTEST_BITS) + (duration_ns >> (bits - 3) & 3)


# The buckets of what is shorter than 1.05 ms: they begin at multiples of 256 ns.
_SHORT_BITS = 8
_OF_SHORT = bytes(bucket_of(step << _SHORT_BITS) for step in range(4096))
_SHORT_NS = len(_OF_SHORT) << _SHORT_BITS


def bucket_end_ns(bucket: int) -> int:
    """Return where a bucket ends, exclusive; for the last, which has no end, where it begins."""
    octave, quarter = divmod(min(bucket, BUCKET_COUNT - 2), 4)
    return (4 + quarter) << (SHORTEST_BITS - 3 + octave)


def beat_in(head: bytes) -> int | None:
    """Return the last beat in the first HEAD_BYTES of a page, None when they begin no such page.

    For who watches from outside and must not map: looking at a mapping that somebody cut is fatal.
    """
    if len(head) < HEAD_BYTES:
        return None
    words = memoryview(head).cast("Q")
    try:
        check_header(words, _shape())
    except (SegmentUnready, LayoutMismatch):
        return None
    beat_at_ns: int = words[_HEARTBEAT]
    return beat_at_ns


def _shape() -> Shape:
    dimensions = len(Counter) << 32 | len(Gauge) << 16 | len(Timing)
    return Shape(b"pmstat", LAYOUT, 8 * _WORD_COUNT, dimensions)


class TimingView(msgspec.Struct, frozen=True):
    """A histogram as it was: total nanoseconds and the count of each bucket."""

    total_ns: int
    buckets: Sequence[int]

    @property
    def count(self) -> int:
        """Return the number of observations."""
        return sum(self.buckets)

    @property
    def mean_ns(self) -> float:
        """Return the exact mean, 0 when there was nothing."""
        return self.total_ns / max(1, self.count)

    def quantile(self, q: float) -> int:
        """Return an upper bound in ns of the q-quantile (0 < q <= 1), 0 when there was nothing."""
        wanted = q * self.count
        for bucket, reached in enumerate(accumulate(self.buckets)):
            if reached and reached >= wanted:
                return bucket_end_ns(bucket)
        return 0

    def figures_us(self) -> dict[str, float]:
        """Return what status answers tell of it: the count, and the rest in microseconds."""
        return {
            "count": self.count,
            "mean": self.mean_ns / 1e3,
            "p50": self.quantile(0.5) / 1e3,
            "p95": self.quantile(0.95) / 1e3,
            "p99": self.quantile(0.99) / 1e3,
            "max": self.quantile(1.0) / 1e3,
        }


class StatsView(msgspec.Struct, frozen=True):
    """A page as it was, by public names."""

    beat_at_ns: int
    counters: dict[str, int]
    gauges: dict[str, int]
    timings: dict[str, TimingView]
    refusals: dict[tuple[str, str], int] = {}  # by selector and reason, those that were counted
    process_id: int = 0


class StatsPage:
    """One process's page; others only read."""

    __slots__ = ("_counters", "_gauges", "_words")

    def __init__(self, buffer: memoryview | bytearray, *, create: bool = False) -> None:
        self._words = open_words(buffer, _shape(), create=create)
        self._counters = self._words[_COUNTERS:_GAUGES]
        self._gauges = self._words[_GAUGES:_REFUSALS]

    @staticmethod
    def size() -> int:
        """Return the bytes needed."""
        return 8 * _WORD_COUNT

    def beat(self, now_ns: int) -> None:
        """Say that the process is alive and turning."""
        self._words[_HEARTBEAT] = now_ns

    def beat_at_ns(self) -> int:
        """Return the instant of the last beat, 0 before the first."""
        beat_at_ns: int = self._words[_HEARTBEAT]
        return beat_at_ns

    def introduce(self, process_id: int) -> None:
        """Say whose page it is from now on; what only the process before knew is forgotten."""
        self._words[_PROCESS] = process_id
        for gauge in Gauge:
            self._gauges[gauge] = 0

    def refuse(self, selector: str, reason: str) -> None:
        """Count a job for which there was no node; both words are of stats_names."""
        self._words[_REFUSAL_AT[selector, reason]] += 1

    def add(self, counter: Counter, n: int = 1) -> None:
        """Count n more."""
        self._counters[counter] += n

    def add_tally(self, tally: Mapping[int, int]) -> None:
        """Count what was gathered in a turn, by the number of the counter."""
        counters = self._counters
        for counter, n in tally.items():
            counters[counter] += n

    def counted(self, counter: Counter) -> int:
        """Return what was counted so far."""
        return int(self._counters[counter])

    def gauged(self, gauge: Gauge) -> int:
        """Return what was said last."""
        return int(self._gauges[gauge])

    def observed(self, timing: Timing) -> int:
        """Return how many durations were counted."""
        at = _TOTAL_AT[timing]
        return sum(self._words[at + 1 : at + _TIMING_WORDS].tolist())

    def gauge(self, gauge: Gauge, value: int) -> None:
        """Say what is true now."""
        self._gauges[gauge] = value

    def observe(self, timing: Timing, duration_ns: int, count: int = 1) -> None:
        """Count so many like durations; a negative one, which no clock gives, counts as 0."""
        duration_ns = max(0, duration_ns)
        words, at = self._words, _TOTAL_AT[timing]
        words[at] += duration_ns * count
        words[at + 1 + bucket_of(duration_ns)] += count

    def observe_all(self, timing: Timing, durations_ns: Sequence[int]) -> None:
        """Count durations of 0 ns or more that were gathered in a turn."""
        words, at = self._words, _TOTAL_AT[timing]
        words[at] += sum(durations_ns)
        first = at + 1
        for duration_ns in durations_ns:
            is_short = duration_ns < _SHORT_NS
            bucket = _OF_SHORT[duration_ns >> _SHORT_BITS] if is_short else bucket_of(duration_ns)
            words[first + bucket] += 1

    def read(self) -> StatsView:
        """Return the page as it is now."""
        timings = {}
        for name, at in zip(_TIMING_NAMES, _TOTAL_AT.values(), strict=True):
            buckets = self._words[at + 1 : at + _TIMING_WORDS].tolist()
            timings[name] = TimingView(total_ns=self._words[at], buckets=buckets)
        refusals = zip(_REFUSAL_AT, self._words[_REFUSALS:_TIMINGS].tolist(), strict=True)
        return StatsView(
            beat_at_ns=self.beat_at_ns(),
            counters=dict(zip(_COUNTER_NAMES, self._counters.tolist(), strict=True)),
            gauges=dict(zip(_GAUGE_NAMES, self._gauges.tolist(), strict=True)),
            timings=timings,
            refusals={by: count for by, count in refusals if count},
            process_id=self._words[_PROCESS],
        )
