"""One run: calm, faults, calm again, rest; then what all have written down is judged.

calm       the first part: what is usual, for the comparison afterwards
faults     the nemesis strikes for so many minutes
recovery   T_recover, and after it enough time to see that all is as before
rest       nobody asks any more: everything that was accepted must have ended
"""

import asyncio
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import msgspec

from pointsman_sim.chaos.fleet import Fleet
from pointsman_sim.chaos.nemesis import Nemesis
from pointsman_sim.chaos.observer import Observer
from pointsman_sim.chaos.plan import Plan
from pointsman_sim.chaos.processes import END_S, ChaosTrouble, Service
from pointsman_sim.checker.judging import Judgement, judge
from pointsman_sim.checker.recording import load
from pointsman_sim.checker.verdicts import Limits

CLIENT_PROCESSES = 2


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the verdict, and trouble that is none of a promise."""

    judgement: Judgement
    troubles: list[str]
    faults_s: float
    # By process: when its memory, descriptors and threads were what.
    samples: dict[str, list[tuple[float, dict[str, int]]]]

    @property
    def is_kept(self) -> bool:
        """Was every promise kept, and did every process end as it was asked to?"""
        return self.judgement.is_kept and not self.troubles


def run(plan: Plan) -> Outcome:
    """Make the run.  Raises ChaosTrouble, KeyboardInterrupt; nothing is left in any case."""
    with TemporaryDirectory(prefix="pm-chaos-") as name:
        directory = Path(name)
        service = Service(directory, plan.workers)
        observer = Observer(service, directory / "observer.jsonl")
        try:
            address = service.wait_ready()
            troubles, faults_s = asyncio.run(_with_signals(plan, observer, address, directory))
            status = service.end(END_S)
            if status != 0:
                said = "\n".join([*service.lines][-40:])
                troubles.append(f"the service ended with {status}:\n{said}")
        finally:
            service.end(5.0)
            service.clear_away()
        judgement = _judged(plan, directory)
        return Outcome(
            judgement=judgement,
            troubles=troubles,
            faults_s=faults_s,
            samples=observer.samples,
        )


def _judged(plan: Plan, directory: Path) -> Judgement:
    paths = sorted(directory.glob("*.jsonl"))
    if plan.keep is not None:
        plan.keep.mkdir(parents=True, exist_ok=True)
        for path in paths:
            (plan.keep / path.name).write_bytes(path.read_bytes())
    return judge(load(paths), Limits())


async def _with_signals(
    plan: Plan, observer: Observer, address: str, directory: Path
) -> tuple[list[str], float]:
    """SIGTERM ends a run as Ctrl-C does."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    fleet = Fleet(observer.service, address, directory, plan)
    nemesis = Nemesis(fleet, directory / "nemesis.jsonl", plan.faults, plan.seed)
    try:
        return await _rise_and_fall(plan, fleet, observer, nemesis)
    finally:
        nemesis.close()
        observer.close()
        fleet.end()


async def _rise_and_fall(
    plan: Plan, fleet: Fleet, observer: Observer, nemesis: Nemesis
) -> tuple[list[str], float]:
    fleet.start(CLIENT_PROCESSES)
    looking = [asyncio.create_task(act()) for act in (observer.look, observer.nap)]
    watching = asyncio.create_task(fleet.watch())
    await asyncio.sleep(plan.calm_s)
    began_s = monotonic()
    if plan.faults:
        await nemesis.strike_until(began_s + 60 * plan.minutes)
        nemesis.heal()
    else:
        await asyncio.sleep(60 * plan.minutes)
    faults_s = monotonic() - began_s
    await asyncio.sleep(plan.recovery_s)
    watching.cancel()
    await fleet.end_clients()
    await observer.at_rest()
    for task in looking:
        task.cancel()
    if plan.faults and not nemesis.struck_count:
        raise ChaosTrouble("no fault could be done: give it more minutes")
    return fleet.troubles, faults_s
