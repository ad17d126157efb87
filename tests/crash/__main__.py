"""`make crash`: every crash point and every kind of death, again and again, counted by id.

    PYTHONPATH=tests python -m crash --minutes 60 --only P2,P4 --ledger docs/reliability.jsonl

Each id gets the same time, in turns; with a share it gets that much of the time.  What was bad is
told with its words and its seed, and the counts are added to the ledger.
"""

import asyncio
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic

from crash.load import Outcome
from crash.points import points_of
from crash.scenes import client_dies, manager_dies, node_dies, worker_dies
from crash.weather import (
    ORDERS,
    all_at_once,
    hang,
    harm_segments,
    manager_away,
    random_kills,
    starve,
)
from live.service import LiveService, live_service

from pointsman_sim import campaign_ledger as ledger

WORDS_MAX = 400
# A worker passes these several times for each job, and in each life for the life before.
MANY = frozenset({"worker-after-journal"})
Scene = Callable[[Random], Awaitable[Outcome]]


async def a_worker(dice: Random) -> Outcome:
    """P2 at any of its points."""
    point = dice.choice([name for name in points_of("worker") if name != "worker-at-start"])
    passings = dice.randint(3, 8) + (8 if point in MANY else 0)
    return await worker_dies(point, passings, jobs=16)


async def the_manager(dice: Random) -> Outcome:
    """P1 at any of its points, and of those of the catalog's writer."""
    point = dice.choice(points_of("manager", "catalog"))
    passings = dice.randint(5, 9) if point.startswith("catalog") else dice.randint(1, 2)
    return await manager_dies(point, passings)


async def in_a_service(
    scene: Callable[[LiveService, Path, str, int], Awaitable[Outcome]], point: str, passings: int
) -> Outcome:
    """A node or a client that dies: five of them in one service."""
    total = Outcome()
    with live_service() as service, TemporaryDirectory(prefix="pm-") as folder:
        for _ in range(5):
            outcome = await scene(service, Path(folder), point, passings)
            total.deaths += outcome.deaths
            total.jobs += outcome.jobs
        await service.has_no_slots_held()
    return total


async def a_node(dice: Random) -> Outcome:
    """P3 at any of its points."""
    point = dice.choice(points_of("node"))
    return await in_a_service(node_dies, point, 1 if point == "node-mid-store" else 2)


async def a_client(dice: Random) -> Outcome:
    """N12 at any of its points."""
    return await in_a_service(client_dies, dice.choice(points_of("client")), 1)


async def anybody(dice: Random) -> Outcome:
    """P4, as the promise words it: one kill every 1 to 5 s."""
    return await random_kills(dice, seconds=30.0, pause_s=(1.0, 5.0))


SCENES: Mapping[str, Scene] = {
    "P1": the_manager,
    "P1-away": lambda _: manager_away(60.0),
    "P2": a_worker,
    "P3": a_node,
    "P4": anybody,
    "P5": lambda dice: all_at_once(dice.choice(ORDERS)),
    "P6": lambda dice: hang(dice.choice(("worker-0", "worker-1")), dice.choice((2.0, 10.0))),
    "P7": lambda dice: hang("manager", dice.choice((2.0, 10.0))),
    "P12": lambda _: starve(60.0),
    "S7": lambda _: harm_segments("cut"),
    "S8": lambda _: harm_segments("removed"),
    "N12": a_client,
}


def tallies_by_id(tallies: Mapping[str, "Tally"]) -> dict[str, ledger.Tally]:
    """Return what is written down: scenes of one id, such as P1 and P1-away, count together."""
    counts: dict[str, ledger.Tally] = {}
    for name, tally in tallies.items():
        id_ = name.partition("-")[0]
        runs, bad = counts.get(id_, ledger.Tally(0, 0))
        counts[id_] = ledger.Tally(runs + tally.deaths + tally.bad, bad + tally.bad)
    return counts


class Tally:
    """What one id has come to in this campaign."""

    def __init__(self) -> None:
        self.scenes = self.deaths = self.jobs = self.bad = 0
        self.seconds = 0.0

    async def run(self, id_: str, seed: int) -> None:
        """Run one scene; whatever it raises is bad, and told."""
        began_s = monotonic()
        try:
            outcome = await SCENES[id_](Random(seed))
        except (AssertionError, OSError, TimeoutError, subprocess.SubprocessError) as error:
            self.bad += 1
            words = f"{type(error).__name__}: {error}"[:WORDS_MAX]
            print(f"BAD {id_} --only {id_} --seed {seed}: {words}", flush=True)
        else:
            self.deaths += outcome.deaths
            self.jobs += outcome.jobs
        self.scenes += 1
        self.seconds += monotonic() - began_s


async def campaign(options: Namespace) -> dict[str, Tally]:
    """Run scenes of every chosen id in turns until the time is over."""
    ids = options.only.split(",") if options.only else [*SCENES]
    tallies = {id_: Tally() for id_ in ids}
    until_s = monotonic() + 60 * options.minutes * options.share
    for seed in count(options.seed):
        for id_ in ids:
            await tallies[id_].run(id_, seed)
            if monotonic() >= until_s:
                return tallies
    raise AssertionError("unreachable: seeds do not end")


def table(tallies: Mapping[str, Tally]) -> str:
    """Return the counts for people."""
    lines = [f"{'id':<8}{'scenes':>8}{'deaths':>8}{'jobs':>9}{'bad':>6}{'minutes':>9}"]
    for id_, tally in tallies.items():
        counts = f"{tally.scenes:>8}{tally.deaths:>8}{tally.jobs:>9}{tally.bad:>6}"
        lines.append(f"{id_:<8}{counts}{tally.seconds / 60:>9.1f}")
    return "\n".join(lines)


def main() -> int:
    """Run a campaign; 1 when anything was bad."""
    parser = ArgumentParser(prog="python -m crash.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=1.0, help="of the minutes")
    parser.add_argument("--only", default="", help=f"ids out of {', '.join(SCENES)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", type=Path, help="a file to add the counts to")
    options = parser.parse_args()
    tallies = asyncio.run(campaign(options))
    print(table(tallies))
    ledger.append(options.ledger, tallies_by_id(tallies), options.minutes * options.share)
    return 1 if any(tally.bad for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
