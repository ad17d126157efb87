"""What a worker's shell does about overload: it measures, and hangs up on the slowest."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pointsman_wire.sockets.slowness import close_slowest
from pointsman_workers.core.overload import Pressure
from pointsman_workers.shell.pressure import (
    LAGS,
    PressureGauge,
    descriptor_count,
    memory_share_bytes,
)
from pointsman_workers.shell.pulse import EARLY_NS, PERIOD_NS, next_round_ns

MIB = 1024 * 1024


def measured(gauge_bytes: int, lags_ns: Sequence[int]) -> list[Pressure]:
    """What a gauge tells in turn at beats of a tenth of a second that come so late."""
    told: list[Pressure] = []
    gauge = PressureGauge(gauge_bytes, told.append)
    try:
        for number, lag_ns in enumerate(lags_ns, start=1):
            gauge.beat(number * PERIOD_NS + lag_ns, lag_ns)
    finally:
        gauge.close()
    return told


def test_memory_and_descriptors_are_shares_of_what_there_is() -> None:
    (found,) = measured(100 * 1024 * MIB, [0])
    assert 0 < found.memory < 0.1
    assert 0 < found.descriptors < 0.9
    (tight,) = measured(MIB, [0])
    assert tight.memory > 1


def test_descriptors_are_counted_without_touching_them(tmp_path: Path) -> None:
    before = descriptor_count()
    files = [(tmp_path / str(number)).open("w") for number in range(10)]
    assert descriptor_count() == before + 10
    for file in files:
        file.close()
    assert descriptor_count() == before


def test_only_a_lag_that_stands_for_a_second_counts() -> None:
    lag_ns = 60_000_000
    *before, last = measured(1024 * MIB, [lag_ns] * LAGS)
    assert {found.loop_lag_ns for found in before} == {0}, "there is no second to look back at yet"
    assert last.loop_lag_ns == lag_ns
    *_, relieved = measured(1024 * MIB, [lag_ns] * LAGS + [0, lag_ns, lag_ns])
    assert relieved.loop_lag_ns == 0, "once in this second the loop was on time"


def test_it_looks_four_times_a_second_and_catches_nothing_up_after_a_pause() -> None:
    assert len(measured(1024 * MIB, [0] * 100)) == 1 + 40
    told: list[Pressure] = []
    gauge = PressureGauge(1024 * MIB, told.append)
    for now_ns in (PERIOD_NS, 60 * 10 * PERIOD_NS, 60 * 10 * PERIOD_NS + PERIOD_NS):
        gauge.beat(now_ns, 0)
    gauge.close()
    assert len(told) == 3


@pytest.mark.parametrize(
    ("now_ns", "next_ns"),
    [
        (0, PERIOD_NS),
        (PERIOD_NS + 1, 2 * PERIOD_NS),
        (2 * PERIOD_NS - EARLY_NS - 1, 2 * PERIOD_NS),
        (2 * PERIOD_NS - EARLY_NS, 3 * PERIOD_NS),
    ],
)
def test_the_pulse_beats_at_round_instants_and_not_twice_for_one(now_ns: int, next_ns: int) -> None:
    assert next_round_ns(now_ns) == next_ns


def test_the_share_of_memory_is_that_of_the_smallest_limit(tmp_path: Path) -> None:
    none, small, odd = (tmp_path / name for name in ("none", "small", "odd"))
    small.write_text(f"{300 * MIB}\n")
    odd.write_text("max\n")
    assert memory_share_bytes(2, (none, small)) == 100 * MIB
    assert memory_share_bytes(2, (odd,)) == memory_share_bytes(2, ()) > 0


class Slow:
    """A connection that keeps so much unread."""

    def __init__(self, unread_bytes: int) -> None:
        self.unread_bytes = unread_bytes
        self.reason = ""

    def abort(self, reason: str) -> None:
        self.reason = reason


def test_n6_the_slowest_are_hung_up_on_and_no_others() -> None:
    peers = [Slow(size) for size in (0, 300, 100, 200)]
    close_slowest(peers, 2)
    assert [bool(peer.reason) for peer in peers] == [False, True, False, True]
    assert "slow consumer" in peers[1].reason
    close_slowest(peers[:1], 5)
    assert not peers[0].reason, "who reads everything is never closed"
