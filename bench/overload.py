"""What the service does when more is offered than its nodes can do.

    stretches of the same length: half the capacity, ..., five times, and half again

Real processes, two workers, ten nodes whose jobs take a fixed time, so that capacity is known:
slots over time.  The client submits by the clock, whatever comes back, to both workers alike.

goodput        completed jobs a second, and their share of the best stretch
p99            of the accepted jobs that completed, submit to result
refusal cost   CPU of the workers for a job that is not done: what a stretch used above what its
               completed jobs cost in the stretch where that is least, of those in which as good as
               none was refused or expired, for each job refused or expired
recovery       in the last stretch: how long latencies stay above 1.2 times those of the first
share          completed by worker 0, of all: both are offered the same
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
from _load.offers import Offer, Stretch
from _shared.processes import Child
from _shared.report import Options, Row, median_row, report, run

from pointsman.testing import running_service
from pointsman_wire.admin_messages import Status, StatusQuery
from pointsman_wire.places import admin_socket
from pointsman_wire.sockets.admin import ask

WORKERS = 2
NODES = 10
SLOTS = 4
SERVICE_MS = 40.0
CAPACITY = NODES * SLOTS / (SERVICE_MS / 1e3)  # jobs a second
FACTORS = (0.5, 0.8, 1.0, 1.5, 2.0, 5.0, 0.5)
STRETCH_S = 8.0
QUICK_STRETCH_S = 3.0
WAIT_S = 1.0
ROUNDS = 3
UNDONE_SHARE_MAX = 0.01


def worker_pids(runtime_dir: Path) -> list[int]:
    """Ask every worker who it is."""
    found = []
    for index in range(WORKERS):
        status = asyncio.run(ask(admin_socket(runtime_dir, f"worker-{index}"), StatusQuery()))
        assert isinstance(status, Status), status
        found.append(status.pid)
    return found


def offer_all(stretch_s: float) -> list[Stretch]:
    """Start everything, offer every rate, and end everything."""
    with ExitStack() as stack:
        service = stack.enter_context(running_service(workers=WORKERS))
        size = (str(NODES), str(SLOTS), str(SERVICE_MS))
        nodes = stack.enter_context(Child("_load.nodes", service.address, *size))
        nodes.next_line()
        watched = [f"w{n}={pid}" for n, pid in enumerate(worker_pids(service.runtime_dir))]
        client = stack.enter_context(
            Child("_load.open_client", service.address, str(WORKERS), *watched)
        )
        client.next_line()
        rates = [CAPACITY * factor for factor in FACTORS]
        offer = Offer(rates=rates, stretch_s=stretch_s, wait_s=WAIT_S)
        answer = client.ask(msgspec.json.encode(offer).decode())
    return msgspec.json.decode(answer, type=list[Stretch])


def is_all_done(stretch: Stretch) -> bool:
    """Were as good as no jobs turned away, and did as good as none wait in vain?"""
    return stretch.refused + stretch.expired < UNDONE_SHARE_MAX * stretch.offered


def rows_of(stretches: Sequence[Stretch], stretch_s: float) -> list[Row]:
    """Return a row for each stretch."""
    best = max(stretch.completed for stretch in stretches)
    first = stretches[0]
    cost_s = min(
        stretch.server_cpu_s / max(1, stretch.completed)
        for stretch in stretches
        if stretch is first or is_all_done(stretch)
    )
    rows: list[Row] = []
    for factor, stretch in zip(FACTORS, stretches, strict=True):
        undone = stretch.refused + stretch.expired
        over_s = max(0.0, stretch.server_cpu_s - cost_s * stretch.completed)
        by_worker = stretch.completed_by_worker
        rows.append(
            {
                "system": "pointsman",
                "offered_of_capacity": str(factor),
                "stretch": len(rows) + 1,
                "goodput_per_s": stretch.completed / stretch_s,
                "goodput_of_best": stretch.completed / best,
                "refused": float(stretch.refused),
                "expired": float(stretch.expired),
                "p50_ms": stretch.p50_ms,
                "p99_ms": stretch.p99_ms,
                "refusal_cpu_us": 0.0 if is_all_done(stretch) else over_s / undone * 1e6,
                "recovery_s": stretch.recovered_s if len(rows) == len(FACTORS) - 1 else 0.0,
                "share_of_worker_0": by_worker[0] / max(1, sum(by_worker)),
            }
        )
    return rows


def main(options: Options) -> None:
    """Offer, in several rounds, and report."""
    stretch_s = QUICK_STRETCH_S if options.is_quick else STRETCH_S
    rounds = [
        rows_of(offer_all(stretch_s), stretch_s) for _ in range(1 if options.is_quick else ROUNDS)
    ]
    report("overload", [median_row(found) for found in zip(*rounds, strict=True)], options)


if __name__ == "__main__":
    run("Goodput, latency and refusals from half to five times the capacity.", main)
