"""How much is offered, and what became of it: the words between bench and open-loop client."""

import msgspec


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Submit so many jobs a second for so long, whatever becomes of them; then wait for the rest.

    `rates` are for one stretch after another; each has a report of its own.
    """

    rates: list[float]
    stretch_s: float
    wait_s: float  # that a job may wait for a slot


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What ended in one stretch; latencies of the jobs that were submitted in it."""

    offered: int
    completed: int  # that ended in it, whenever they were submitted
    refused: int  # before acceptance
    expired: int
    p50_ms: float
    p99_ms: float
    recovered_s: float  # from its begin until latencies stayed within 1.2 times those of the first
    completed_by_worker: list[int]
    server_cpu_s: float
