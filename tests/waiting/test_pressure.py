"""What a worker's shell does about overload: it measures, and hangs up on the slowest."""

import asyncio
from pathlib import Path

from pointsman_wire.sockets.slowness import close_slowest
from pointsman_workers.core.overload import Pressure
from pointsman_workers.shell.pressure import (
    BEATS_PER_LOOK,
    LAGS,
    PressureGauge,
    descriptor_count,
    memory_share_bytes,
)

MIB = 1024 * 1024


def hold_up(seconds: float) -> None:
    """Keep the loop from everything else."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + seconds
    while loop.time() < end_s:
        pass


async def measured(gauge_bytes: int, count: int, *, block_s: float = 0.0) -> list[Pressure]:
    """What a gauge tells in turn while the loop is held up so long, again and again."""
    told: list[Pressure] = []
    gauge = PressureGauge(gauge_bytes, told.append)
    try:
        async with asyncio.timeout(30):
            while len(told) < count:
                hold_up(block_s)
                await asyncio.sleep(0 if block_s else 0.01)
    finally:
        gauge.close()
    return told


async def test_memory_and_descriptors_are_shares_of_what_there_is() -> None:
    (found,) = await measured(100 * 1024 * MIB, 1)
    assert 0 < found.memory < 0.1
    assert 0 < found.descriptors < 0.9
    (tight,) = await measured(MIB, 1)
    assert tight.memory > 1


def test_descriptors_are_counted_without_touching_them(tmp_path: Path) -> None:
    before = descriptor_count()
    files = [(tmp_path / str(number)).open("w") for number in range(10)]
    assert descriptor_count() == before + 10
    for file in files:
        file.close()
    assert descriptor_count() == before


async def test_only_a_lag_that_stands_for_a_second_counts() -> None:
    looks = LAGS // BEATS_PER_LOOK + 1
    free = await measured(1024 * MIB, 1)
    assert free[0].loop_lag_ns == 0, "there is no second to look back at yet"
    held_up = await measured(1024 * MIB, looks, block_s=0.15)
    assert held_up[-1].loop_lag_ns > 20_000_000


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
