"""Stats pages: counts are exact, and a quantile is never more than a quarter off."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.memory.stats import BUCKET_COUNT, StatsPage, bucket_end_ns, bucket_of
from pointsman_shm.memory.stats_names import Counter, Gauge, Timing

MakeMemory = Callable[[int], memoryview]


def test_a_reader_sees_counts_gauges_timings_and_the_heartbeat(make_memory: MakeMemory) -> None:
    memory = make_memory(StatsPage.size())
    page = StatsPage(memory, create=True)
    page.beat(123)
    for counter in Counter:
        page.add(counter, counter + 1)
        page.add(counter)
    for gauge in Gauge:
        page.gauge(gauge, 1000 + gauge)
    for timing in Timing:
        page.observe(timing, 5_000 + timing)
    view = StatsPage(memory.toreadonly()).read()
    assert view.beat_at_ns == 123
    assert view.counters == {counter.name.lower(): counter + 2 for counter in Counter}
    assert view.gauges == {gauge.name.lower(): 1000 + gauge for gauge in Gauge}
    assert {name: found.total_ns for name, found in view.timings.items()} == {
        timing.name.lower(): 5_000 + timing for timing in Timing
    }
    assert all(found.count == 1 for found in view.timings.values())


def test_a_successor_goes_on_counting() -> None:
    memory = bytearray(StatsPage.size())
    StatsPage(memory, create=True).add(Counter.DECISIONS, 2)
    StatsPage(memory).add(Counter.DECISIONS, 3)
    assert StatsPage(memory).counted(Counter.DECISIONS) == 5
    assert StatsPage(memory).read().counters["decisions"] == 5


def test_names_are_positions_from_zero() -> None:
    for table in (Counter, Gauge, Timing):
        assert [member.value for member in table] == list(range(len(table)))


def test_buckets_meet_without_gap_or_overlap() -> None:
    ends = [bucket_end_ns(bucket) for bucket in range(BUCKET_COUNT - 1)]
    assert ends == sorted(set(ends))
    assert (ends[0], ends[-1]) == (1 << 10, 1 << 36)
    for bucket, end in enumerate(ends):
        assert (bucket_of(end - 1), bucket_of(end)) == (bucket, bucket + 1)
    assert bucket_of(0) == 0
    assert bucket_of(2**70) == BUCKET_COUNT - 1


def test_what_was_gathered_in_a_turn_is_counted_as_one_by_one() -> None:
    durations_ns = [end + by for end in map(bucket_end_ns, range(BUCKET_COUNT)) for by in (-1, 0)]
    gathered, single = (StatsPage(bytearray(StatsPage.size()), create=True) for _ in range(2))
    gathered.observe_all(Timing.DECISION, durations_ns)
    for duration_ns in durations_ns:
        single.observe(Timing.DECISION, duration_ns)
    assert gathered.read().timings == single.read().timings
    assert gathered.read().timings["decision"].count == len(durations_ns)


@given(st.lists(st.integers(1024, 2**36 - 1), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_bounds_the_true_one_by_a_quarter(durations_ns: list[int], q: float) -> None:
    page = StatsPage(bytearray(StatsPage.size()), create=True)
    for duration_ns in durations_ns:
        page.observe(Timing.TURN, duration_ns)
    view = page.read().timings["turn"]
    position = next(i for i in range(len(durations_ns)) if i + 1 >= q * len(durations_ns))
    true_ns = sorted(durations_ns)[position]
    assert true_ns < view.quantile(q) <= 1.25 * true_ns + 1
    assert view.mean_ns == sum(durations_ns) / len(durations_ns)


def test_nothing_observed_and_what_lies_outside() -> None:
    page = StatsPage(bytearray(StatsPage.size()), create=True)
    assert page.read().timings["turn"].quantile(0.5) == 0
    assert page.read().timings["turn"].mean_ns == 0
    page.observe(Timing.TURN, -5)
    page.observe(Timing.TURN, 2**40)
    view = page.read().timings["turn"]
    assert (view.quantile(0.5), view.quantile(1.0)) == (1 << 10, 1 << 36)
    assert (view.count, view.total_ns) == (2, 2**40)


def test_a_timing_is_told_in_microseconds() -> None:
    page = StatsPage(bytearray(StatsPage.size()), create=True)
    for duration_ns in (1_000, 2_000, 3_000, 1_000_000):
        page.observe(Timing.TURN, duration_ns)
    told = page.read().timings["turn"].figures_us()
    assert list(told) == ["count", "mean", "p50", "p95", "p99", "max"]
    assert (told["count"], told["mean"]) == (4, 251.5)
    assert 2 <= told["p50"] <= 2.5 < 1_000 <= told["p95"] <= told["max"] <= 1_250
