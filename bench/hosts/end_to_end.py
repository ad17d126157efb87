"""What Redis adds to a job from submit to result: one service without it, one with it.

    PYTHONPATH=bench:tests .venv/bin/python -m hosts.end_to_end [--quick] [--json FILE]

Two services with one worker each run side by side, with nodes and a client of their own that speak
the wire directly; one coordinates over a Redis that the bench has started, the other is on its
own.  They take turns at every depth in every round; what Redis adds is the median, over the
rounds, of the difference between the two turns of a round.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from _load.orders import Order
from _load.systems import Line, lines_of, start_pointsman
from _shared.report import Options, Row, median_row, report, run
from _shared.service import NODES_SHARE_A_MACHINE
from cluster.instances import write_key
from hosts.coordination import redis_used_s
from redis_yard.programs import NONE_FOUND, redis_program
from redis_yard.server import RedisServer, running

IN_FLIGHT = (1, 8, 64)
ROUNDS = 7
QUICK_ROUNDS = 2
RUN_S = 2.0
QUICK_RUN_S = 0.4
WARM_S = 0.2
LOADERS = ("nodes", "client")
ADDED = ("cpu_us_per_job", "p50_us", "p99_us")
SHARED = """
[redis]
url = "redis://127.0.0.1:{port}/0"
cluster_key_file = "{key_file}"
"""


def start(stack: ExitStack, folder: Path, backing: str, more_config: str) -> Line:
    """Start one service, its nodes and its client."""
    config = folder / f"{backing}.toml"
    config.write_text(NODES_SHARE_A_MACHINE + more_config)
    config.chmod(0o600)
    server = start_pointsman(stack, config)
    (line,) = lines_of(stack, backing, server, LOADERS, (1,))
    return line


def turn(line: Line, in_flight: int, run_s: float, server: RedisServer) -> Row:
    """Run one line for a while; return its row of this round."""
    before_s = redis_used_s(server)
    outcome = line.run(Order(depth=in_flight, warm_s=WARM_S, run_s=run_s))
    # Redis is idle but for the jobs, of which some ended in the time of warming up.
    share = run_s / (run_s + WARM_S)
    redis_s = (redis_used_s(server) - before_s) * share
    jobs = max(1, outcome.jobs)
    return {
        "kind": "end to end",
        "backing": line.system,
        "in_flight": in_flight,
        "cpu_us_per_job": outcome.cpu_s["server"] / jobs * 1e6,
        "redis_us_per_job": redis_s / jobs * 1e6 if line.system == "redis" else 0.0,
        "jobs_per_s": outcome.jobs / outcome.elapsed_s,
        "p50_us": outcome.p50_us,
        "p99_us": outcome.p99_us,
    }


def with_added(alone: Row, shared: Row) -> Row:
    """Return the row of the service with Redis, with what it has above the other's."""
    added = {f"added_{key}": float(shared[key]) - float(alone[key]) for key in ADDED}
    return {**shared, **added}


def measure(
    lines: Sequence[Line], server: RedisServer, round_count: int, run_s: float
) -> list[Row]:
    """Let both take turns, the first one changing; return one row for each at every depth."""
    found: dict[int, list[tuple[Row, Row]]] = {in_flight: [] for in_flight in IN_FLIGHT}
    for number in range(round_count):
        for in_flight in IN_FLIGHT:
            order = lines if number % 2 == 0 else lines[::-1]
            rows = {line.system: turn(line, in_flight, run_s, server) for line in order}
            found[in_flight].append((rows["local"], with_added(rows["local"], rows["redis"])))
    return [median_row(rows) for rounds in found.values() for rows in zip(*rounds, strict=True)]


def main(options: Options) -> None:
    """Start Redis and both services, measure, end them all, and report."""
    program = redis_program()
    if program is None:
        sys.exit(NONE_FOUND)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="pmb-")))
        server = stack.enter_context(running(program, folder / "redis"))
        shared = SHARED.format(port=server.port, key_file=write_key(folder))
        lines = [start(stack, folder, "local", ""), start(stack, folder, "redis", shared)]
        rounds, run_s = (QUICK_ROUNDS, QUICK_RUN_S) if options.is_quick else (ROUNDS, RUN_S)
        rows = measure(lines, server, rounds, run_s)
    report("end_to_end", rows, options)


if __name__ == "__main__":
    run(__doc__.splitlines()[0], main)
