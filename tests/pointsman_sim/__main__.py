"""Run the simulator: `python -m pointsman_sim --seed 7 --workers 2 --nodes 8 --faults all`.

With --alone each seed has one kind of fault, the next seed the next, ten times as often as in the
mix: what is rare there, and hidden by other harm, is then the rule.  With --twice every seed runs
twice and must give one trace; with --ledger the counts of each id of the fault list are appended to
a file, one JSON line an id.

Exit status 0 when every promise was kept, 1 when one was broken, 2 for a wrong command line.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import msgspec

from pointsman_sim.campaign_ledger import Counts, append
from pointsman_sim.settings import FAULTS, Settings, alone, settings_of
from pointsman_sim.simulation import Report, simulate

SIZES = ("steps", "duration_s", "workers", "nodes", "clients", "faults_per_s", "quiet_s", "tail")


def parser() -> ArgumentParser:
    """Return the command line."""
    found = ArgumentParser(
        prog="python -m pointsman_sim",
        description="Simulate a whole cluster on a virtual clock and judge every turn of it.",
        epilog=f"Faults: {', '.join(FAULTS)}.  What is not given is drawn from the seed.",
    )
    found.add_argument("--seed", type=int, default=0, help="the (first) seed")
    found.add_argument("--runs", type=int, default=1, help="how many seeds, one after the other")
    found.add_argument("--minutes", type=float, help="go on with the next seed for so long")
    found.add_argument("--steps", type=int, help="turns of all cores before the quiet part")
    found.add_argument("--duration-s", type=float, help="the same as virtual seconds")
    found.add_argument("--workers", type=int)
    found.add_argument("--nodes", type=int)
    found.add_argument("--clients", type=int)
    found.add_argument("--faults", help="all, none, or kinds with commas between them")
    found.add_argument("--faults-per-s", type=float, help="of all kinds together")
    found.add_argument("--quiet-s", type=float, help="virtual seconds until all must have ended")
    found.add_argument(
        "--alone", action="store_true", help="one kind a seed, at ten times the rate"
    )
    found.add_argument("--twice", action="store_true", help="each seed twice: one trace")
    found.add_argument("--ledger", type=Path, help="append what was tried how often")
    found.add_argument("--tail", type=int, help="turns to print before a broken promise")
    return found


def settings_for(seed: int, options: Namespace) -> Settings:
    """Return a seed's own settings, changed as the command line says.  Raises ValueError."""
    changes = {name: getattr(options, name) for name in SIZES}
    changes = {name: value for name, value in changes.items() if value is not None}
    if options.faults is not None:
        words = {"all": FAULTS, "none": ()}
        changes["faults"] = words.get(options.faults, tuple(options.faults.split(",")))
    drawn = alone(settings_of(seed)) if options.alone else settings_of(seed)
    return msgspec.structs.replace(drawn, **changes)


def summary(report: Report, real_s: float) -> str:
    """Return one run as a table of a few lines."""
    settings = report.settings
    lines = [
        f"seed {settings.seed}: {settings.workers} workers, {settings.nodes} nodes, "
        f"{settings.clients} clients, faults: {', '.join(settings.faults) or 'none'}",
        f"{report.turns} turns, {report.virtual_s:.1f} virtual s in {real_s:.1f} s",
    ]
    lines += [f"  {name:<28} {count:>9}" for name, count in report.counts.items() if count]
    lines.append(f"trace {report.trace_hash}")
    return "\n".join(lines)


def failure(report: Report, options_words: str) -> str:
    """Return what was broken, what came before it, and how to see it again."""
    return "\n".join(
        [
            *report.tail,
            report.traceback,
            f"BROKEN with seed {report.settings.seed}: {report.violation}",
            f"trace {report.trace_hash}",
            f"see it again: python -m pointsman_sim --seed {report.settings.seed} {options_words}",
        ]
    )


def compared(first: Report, second: Report) -> Report:
    """Return the first run, broken when the second went another way."""
    if first.violation or first.trace_hash == second.trace_hash:
        return first
    words = f"determinism: the same seed gave {first.trace_hash} and {second.trace_hash}"
    return msgspec.structs.replace(first, violation=words)


def words_again(options: Namespace) -> str:
    """Return the options that shape a run, as they were given."""
    given = [(name, getattr(options, name)) for name in (*SIZES, "faults")]
    words = [f"--{name.replace('_', '-')} {value}" for name, value in given if value is not None]
    return " ".join([*words, *(["--alone"] if options.alone else [])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one seed in full words, or many with a line each."""
    options = parser().parse_args(arguments)
    end_s = monotonic() + 60 * options.minutes if options.minutes is not None else None
    again = words_again(options)
    seed, broken_count, campaign = options.seed, 0, Counts()
    campaign_began_s = monotonic()
    is_single = options.runs == 1 and end_s is None
    while seed < options.seed + options.runs or (end_s is not None and monotonic() < end_s):
        began_s = monotonic()
        try:
            settings = settings_for(seed, options)
        except ValueError as error:
            parser().error(str(error))
        report = simulate(settings)
        if options.twice:
            report = compared(report, simulate(settings))
        campaign.add(report)
        if is_single:
            print(summary(report, monotonic() - began_s))
        else:
            print(f"{seed:>8} {report.turns:>8} turns  {report.trace_hash}", flush=True)
        if report.violation:
            broken_count += 1
            print(failure(report, again), file=sys.stderr, flush=True)
        seed += 1
    if options.ledger is not None:
        append(options.ledger, campaign.tallies(), (monotonic() - campaign_began_s) / 60)
    if not is_single:
        print(f"{seed - options.seed} runs, {broken_count} broken")
    return 1 if broken_count else 0


if __name__ == "__main__":
    sys.exit(main())
