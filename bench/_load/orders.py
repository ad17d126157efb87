"""How a bench directs its load: one order a line into a process, one answer a line out of it.

Every load generator answers alike, whatever it talks to, so that systems differ in nothing else.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

READY = "ready"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Keep `depth` jobs in flight for warm_s, and then for run_s, which is what is measured."""

    depth: int
    warm_s: float
    run_s: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What ended inside the measured time, and the CPU seconds of each watched process in it."""

    jobs: int
    elapsed_s: float
    p50_us: float
    p99_us: float
    cpu_s: dict[str, float]


class Window:
    """The measured time: opens when it is made; `latencies_ns` takes what ends inside it."""

    def __init__(self, watched: Mapping[str, int]) -> None:
        self.latencies_ns: list[int] = []
        self._watched = watched
        self._cpu_ns = cpu_of(watched)
        self._began_ns = time.perf_counter_ns()

    def close(self) -> Outcome:
        """Return what was seen until now."""
        elapsed_ns = time.perf_counter_ns() - self._began_ns
        used_ns = cpu_of(self._watched)
        ordered = sorted(self.latencies_ns)
        return Outcome(
            jobs=len(ordered),
            elapsed_s=elapsed_ns / 1e9,
            p50_us=_quantile_us(ordered, 0.5),
            p99_us=_quantile_us(ordered, 0.99),
            cpu_s={name: (used_ns[name] - ns) / 1e9 for name, ns in self._cpu_ns.items()},
        )


def _quantile_us(ordered: Sequence[int], q: float) -> float:
    return ordered[int(q * len(ordered))] / 1e3 if ordered else 0.0


def cpu_of(watched: Mapping[str, int]) -> dict[str, int]:
    """Return the CPU nanoseconds, user and system, that each process (name -> pid) has used.

    Ends this process when one of them is gone.
    """
    try:
        return {name: time.clock_gettime_ns(_cpu_clock(pid)) for name, pid in watched.items()}
    except OSError as error:
        raise SystemExit(f"a process that is measured is gone: {error}") from None


def _cpu_clock(pid: int) -> int:
    """Return the number of a process's CPU clock, as clock_getcpuclockid of Linux makes it."""
    return (~pid << 3) | 2


def read_watched(words: Sequence[str]) -> dict[str, int]:
    """Read NAME=PID words."""
    return {name: int(pid) for name, _, pid in (word.partition("=") for word in words)}


async def obey(run: Callable[[Order], Awaitable[Outcome]]) -> None:
    """Say ready, then run what is ordered on standard input until that ends."""
    asyncio.get_running_loop().set_exception_handler(die)
    say(READY)
    while line := await next_line():
        say(msgspec.json.encode(await run(msgspec.json.decode(line, type=Order))).decode())


async def wait_for_end() -> None:
    """Say ready, then wait until standard input ends: the bench is over, or dead."""
    asyncio.get_running_loop().set_exception_handler(die)
    say(READY)
    while await next_line():
        continue


def die(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A callback raised: say so, and end at once, so that the bench does not wait in vain."""
    loop.default_exception_handler(context)
    sys.stderr.flush()
    os._exit(1)


def say(line: str) -> None:
    """Tell the bench."""
    print(line, flush=True)


async def next_line() -> str:
    """Return the next line of standard input, or "" at its end."""
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
