"""The fleet that traces are replayed on: unlike nodes, and what became of each job."""

from collections.abc import Sequence
from random import Random

import msgspec

SLOTS = 4
SPEEDS = (0.5, 1.0, 1.0, 2.0)
DEADLINE_FACTOR = 5.0
# How long a job may wait for a slot, and then run: longer than any does.
WAIT_S = 3_600.0
TIMEOUT_S = 86_400.0
# Ours counts in whole nanoseconds and others in floats: so little is no wait.
NO_WAIT_S = 1e-6


class Done(msgspec.Struct, frozen=True):
    """When a job came, began and ended, and what it takes on a node of speed 1; in seconds."""

    came_s: float
    began_s: float
    ended_s: float
    service_s: float


class Ran(msgspec.Struct, frozen=True):
    """What became of every job, and the CPU time of our core for all of them (of others: 0)."""

    done: list[Done]
    core_s: float = 0.0


class Watched(msgspec.Struct, frozen=True):
    """What became of every job in real time; `late_p99_s` is how late the client was."""

    done: list[Done]
    late_p99_s: float


def speeds_of(node_count: int) -> list[float]:
    """Return how fast each node is, the same for every system."""
    random = Random(node_count)
    return [random.choice(SPEEDS) for _ in range(node_count)]


def capacity_of(speeds: Sequence[float]) -> float:
    """Return the seconds of work that the fleet does in a second."""
    return SLOTS * sum(speeds)


def figures(done: Sequence[Done]) -> dict[str, float]:
    """Return waits in ms, slowdowns (response over service at speed 1), and missed deadlines.

    A deadline is five times the job's service after its arrival.
    """
    waits = sorted(job.began_s - job.came_s for job in done)
    waits = [wait_s if wait_s > NO_WAIT_S else 0.0 for wait_s in waits]
    slowdowns = sorted((job.ended_s - job.came_s) / job.service_s for job in done)
    missed = sum(slowdown > DEADLINE_FACTOR for slowdown in slowdowns)
    return {
        "wait_mean_ms": 1e3 * sum(waits) / len(waits),
        "wait_p99_ms": 1e3 * waits[int(0.99 * len(waits))],
        "slowdown_mean": sum(slowdowns) / len(slowdowns),
        "slowdown_p99": slowdowns[int(0.99 * len(slowdowns))],
        "missed_percent": 100 * missed / len(done),
    }
