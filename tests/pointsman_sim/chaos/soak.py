"""Soak: a trace through real processes for long, with a fault every few seconds, and what grows.

    python -m pointsman_sim.chaos.soak --trace FILE --minutes 60 --warp 10

The verdict is the history checker's; beside it stands how memory, descriptors and threads of each
process, and the segments in /dev/shm, have grown: a slope an hour over the second half, by
least squares.  Exit status as of chaos.
"""

import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from pointsman_sim.campaign_ledger import Tally, append
from pointsman_sim.chaos.__main__ import INTERRUPTED, told
from pointsman_sim.chaos.campaign import run
from pointsman_sim.chaos.plan import FAULTS, Plan
from pointsman_sim.chaos.processes import ChaosTrouble
from pointsman_sim.chaos.traces import TraceError, read_trace
from pointsman_sim.checker.judging import Judgement

HOUR_S = 3_600.0
# What each kind of fault counts for in the list of faults.
IDS = {
    "kill-worker": ("P2", "P4"),
    "kill-manager": ("P1", "P4"),
    "kill-node": ("P3", "P4"),
    "kill-client": ("N12",),
    "kill-all": ("P4",),  # one for each process; P5 takes supervisor and nodes as well
    "stop-worker": ("P6",),
    "stop-manager": ("P7",),
    "stop-node": ("N5",),
}
Samples = dict[str, list[tuple[float, dict[str, int]]]]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the least squares slope of (x, y); 0 for fewer than two instants."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count if count else 0.0
    mean_y = sum(y for _, y in points) / count if count else 0.0
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def slopes_per_hour(samples: Samples) -> dict[str, dict[str, float]]:
    """Return for each process how each of its amounts has grown in the second half."""
    found: dict[str, dict[str, float]] = {}
    for name, taken in sorted(samples.items()):
        half = taken[len(taken) // 2 :]
        words = half[0][1] if half else {}
        found[name] = {
            word: HOUR_S * slope([(at_s, amounts[word]) for at_s, amounts in half])
            for word in words
        }
    return found


def slope_lines(samples: Samples) -> list[str]:
    """Return the slopes for people."""
    lines = []
    for name, slopes in slopes_per_hour(samples).items():
        last = samples[name][-1][1]
        words = [f"{word} {last[word]} ({grown:+.0f}/h)" for word, grown in slopes.items()]
        lines.append(f"{name:<12} {', '.join(words)}")
    return lines


def tallies_of(judgement: Judgement, *, is_kept: bool) -> dict[str, Tally]:
    """Return how often each id was really done; a run that broke a promise is bad for all."""
    done: Counter[str] = Counter()
    for kind, (_, proven_count) in judgement.faults.items():
        done.update(dict.fromkeys(IDS.get(kind, ()), proven_count))
    return {id_: Tally(count, 0 if is_kept else 1) for id_, count in sorted(done.items())}


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay, and tell what came of it."""
    parser = ArgumentParser(prog="python -m pointsman_sim.chaos.soak", description=__doc__)
    parser.add_argument("--trace", required=True, help="a CSV file, see traces.py")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--warp", type=float, default=10.0, help="so many times faster")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--sessions", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ledger", type=Path, help="append how often what was done")
    options = parser.parse_args(arguments)
    if not options.trace:
        parser.error("no trace was given: --trace FILE, or make soak TRACE=FILE")
    try:
        trace = read_trace(Path(options.trace), options.warp)
    except (TraceError, OSError) as error:
        parser.error(str(error))
    print(
        f"{len(trace)} requests in {trace[-1].at_s:.0f} s, again and again, and faults", flush=True
    )
    with TemporaryDirectory(prefix="pm-trace-") as name:
        path = Path(name) / "trace.json"
        path.write_bytes(msgspec.json.encode(trace))
        plan = Plan(
            minutes=options.minutes,
            workers=options.workers,
            nodes=options.nodes,
            sessions=options.sessions,
            faults=FAULTS,
            seed=options.seed,
            trace=path,
        )
        try:
            outcome = run(plan)
        except ChaosTrouble as error:
            print(f"soak: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return INTERRUPTED
    print("\n".join([told(outcome, is_json=False), *slope_lines(outcome.samples)]))
    tallies = tallies_of(outcome.judgement, is_kept=outcome.is_kept)
    append(options.ledger, tallies, outcome.faults_s / 60)
    return 0 if outcome.is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
