"""The campaign of troubled fleets: fleet after fleet meets troubles, counted by id.

    PYTHONPATH=tests python -m cluster --minutes 30 --ledger ledger.jsonl
    PYTHONPATH=tests python -m cluster --only fail_over,cut_off --keep folder

Every third fleet has its instances in networks of their own, whose links are cut (cuts.py); that
needs root.  The others reach Redis through proxies, which delay, hold and lose what passes.

A fleet that lost a job, broke a promise or did not recover is bad for the trouble in which that
was seen, or for all that it met when only the history shows it.
"""

import argparse
import asyncio
import sys
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from time import monotonic

from cluster.cuts import CUTS
from cluster.fleet import Fleet, Plan, fleet
from cluster.refusals import REFUSALS
from cluster.troubles import TROUBLES, Trouble, kept_at, meet, named
from faults.namespaces import why_not
from redis_yard.programs import NONE_FOUND, redis_program

from pointsman_sim.campaign_ledger import Tally, append
from pointsman_sim.chaos.processes import ChaosTrouble

TROUBLES_PER_FLEET = 6
# Instances, and where the nodes are.
SHAPES = ((2, (0, 0)), (2, (0, 1)), (3, (0, 1)), (3, (0, 1, 2)))
APART_EVERY = 3
# What befalls fleets with networks of their own besides cuts: all that needs no proxy.
WITH_CUTS = ("ask_everywhere", "kill_worker", "kill_instance", "kill_redis", "flush_redis")
APART = (*CUTS, *(named(name) for name in WITH_CUTS))


class Campaign:
    """Counts what was met, and what was bad."""

    def __init__(self, program: str, names: set[str], keep: Path | None) -> None:
        def chosen(troubles: Sequence[Trouble]) -> list[Trouble]:
            return [trouble for trouble in troubles if not names or trouble.name in names]

        self.runs: Counter[str] = Counter()
        self.bad: Counter[str] = Counter()
        self.names: Counter[str] = Counter()
        self.fleets = self.bad_fleets = self.jobs = 0
        self._program = program
        self._troubles = chosen((*TROUBLES, *REFUSALS))
        self._troubles_apart = [] if why_not() else chosen(APART)
        self._keep = keep

    @property
    def has_any(self) -> bool:
        """Is there a trouble of these names that can be made here?"""
        return bool(self._troubles or self._troubles_apart)

    async def one_fleet(self, seed: int) -> None:
        """Have one fleet meet its share of troubles, and judge it."""
        dice = Random(seed)
        instances, homes = SHAPES[seed % len(SHAPES)]
        is_apart = not self._troubles or (
            bool(self._troubles_apart) and seed % APART_EVERY == APART_EVERY - 1
        )
        choice = self._troubles_apart if is_apart else self._troubles
        plan = Plan(
            program=self._program,
            instances=instances,
            workers=1 + seed // len(SHAPES) % 2,
            homes=homes,
            slots=4,
            travellers=2 * instances,
            starts_at=tuple(range(instances)),
            durability=dice.choice(("journal", "journal", "redis")),
            is_apart=is_apart,
        )
        met: list[Trouble] = []
        self.fleets += 1
        async with fleet(plan) as stage:
            stage.set_out()
            await stage.ends_more(10)
            try:
                for trouble in dice.choices(choice, k=TROUBLES_PER_FLEET):
                    met.append(trouble)
                    await meet(stage, trouble, dice)
                await stage.rest()
                self._judge(stage, seed, met)
            except Exception:
                traceback.print_exc()
                self._spoilt(stage, seed, met[-1:])
        for trouble in met:
            self.names[trouble.name] += 1
            self.runs.update(trouble.ids)

    def _judge(self, stage: Fleet, seed: int, met: list[Trouble]) -> None:
        judgement = stage.judged()
        self.jobs += judgement.ended
        if judgement.is_kept:
            return
        for verdict in judgement.verdicts:
            for _, words in verdict.words:
                print(f"seed {seed}: {verdict.promise}: {words}", file=sys.stderr)
        self._spoilt(stage, seed, met)

    def _spoilt(self, stage: Fleet, seed: int, by: list[Trouble]) -> None:
        self.bad_fleets += 1
        names = ", ".join(trouble.name for trouble in by)
        print(f"seed {seed} went wrong: {names}", file=sys.stderr)
        for trouble in by:
            self.bad.update(trouble.ids)
        for instance in stage.instances:
            print(f"{instance.nickname} said:", *[*instance.lines][-8:], sep="\n  ")
        if self._keep is not None:
            kept_at(self._keep / f"seed-{seed}", stage)


def main() -> int:
    """Run, tell, write the ledger; 1 when anything was bad."""
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first fleet")
    parser.add_argument("--only", default="", help="troubles with commas between them")
    parser.add_argument("--keep", type=Path, help="a folder for what bad fleets recorded")
    parser.add_argument("--ledger", type=Path)
    given = parser.parse_args()
    program = redis_program()
    if program is None:
        print(NONE_FOUND, file=sys.stderr)
        return 2
    campaign = Campaign(program, {word for word in given.only.split(",") if word}, given.keep)
    if reason := why_not():
        print(f"without networks of their own: {reason}")
    if not campaign.has_any:
        print("no such trouble can be made here", file=sys.stderr)
        return 2
    began_s, seed = monotonic(), given.seed
    try:
        while monotonic() < began_s + 60 * given.minutes:
            try:
                asyncio.run(campaign.one_fleet(seed))
            except (AssertionError, ChaosTrouble):  # before anything befell it
                traceback.print_exc()
                campaign.bad_fleets += 1
            seed += 1
    except KeyboardInterrupt:
        print("interrupted")
    for name, count in sorted(campaign.names.items()):
        print(f"{name:20} {count:5} times")
    print(f"{campaign.fleets} fleets, {campaign.bad_fleets} bad, {campaign.jobs} jobs ended")
    tallies = {name: Tally(n, campaign.bad[name]) for name, n in sorted(campaign.runs.items())}
    append(given.ledger, tallies, (monotonic() - began_s) / 60)
    return 1 if campaign.bad_fleets else 0


if __name__ == "__main__":
    sys.exit(main())
