"""`make demo-cluster`: two instances over one Redis, nodes at one, sessions at the other; one dies.

It needs no configuration, works in a throw-away folder, and ends by itself.  Exit status 0 only
if every job that was asked for has come back and no promise was broken.
"""

import asyncio
import sys
from time import monotonic

from cluster.fleet import Fleet, Plan, fleet
from redis_yard.programs import NONE_FOUND, redis_program
from rich.text import Text

from pointsman.cli.screen import facts, out, say, show, table
from pointsman.results import JobResult
from pointsman_sim.checker.judging import Judgement
from pointsman_sim.checker.verdicts import State

HOME, EDGE = 0, 1
CALM_JOBS = 60
JOB_S = 0.25
ONE = "asked-at-both"


def title(words: str) -> None:
    """Begin a part."""
    out.print()
    say(f"== {words}")


class Play:
    """The story, part by part."""

    def __init__(self, stage: Fleet) -> None:
        self._stage = stage
        self._began_s = monotonic()

    async def tell(self) -> Judgement:
        """Play it to its end."""
        await self._calm()
        await self._same_request_at_both()
        fault = await self._death()
        await self._return(fault)
        await self._stage.rest()
        return self._stage.judged()

    def _show_cast(self) -> None:
        home, edge = (instance.address for instance in self._stage.instances)
        slots = self._stage.plan.slots
        nodes = ", ".join(f"{node.node_id} ({slots} slots)" for node in self._stage.nodes)
        facts(
            [
                ("redis", f"a server of its own, on port {self._stage.redis.port}"),
                ("instance a", f"{home}, with {nodes}"),
                ("instance b", f"{edge}, with {self._stage.plan.travellers} sessions, no node"),
            ]
        )

    async def _calm(self) -> None:
        title("sessions at b, nodes at a")
        self._show_cast()
        self._stage.set_out()
        await self._stage.ends_more(CALM_JOBS)
        ran = {r.node_id for t in self._stage.travellers for r in t.results.values()}
        count = self._stage.ended_count
        facts([("so far", f"{count} jobs came back to b, from {' and '.join(sorted(ran))} at a")])

    async def _same_request_at_both(self) -> None:
        title("one request, asked at both instances in the same moment")
        here = [self._stage.traveller("s-both", at) for at in (HOME, EDGE)]
        told: list[JobResult] = await asyncio.gather(*(one.ask(ONE) for one in here))
        facts(
            [
                (f"from {name}", f"job {result.job_id}, run on {result.node_id}")
                for name, result in zip("ab", told, strict=True)
            ]
        )
        assert told[0].job_id == told[1].job_id, "one request became two jobs"

    async def _death(self) -> int:
        title("b dies: kill -9 of all its processes")
        waiting = self._stage.open_jobs
        began_s = monotonic()
        fault = await self._stage.kill(EDGE)
        facts(
            [
                ("killed", f"with {len(waiting)} jobs accepted or on their way"),
                ("", "their sessions ask for them at a, under the same ids"),
            ]
        )
        await self._stage.come_back(waiting)
        took_s = monotonic() - began_s
        lease_s = self._stage.lease_s
        facts(
            [
                ("all came back", f"within {took_s:.1f} s, under the same job ids"),
                (
                    "",
                    f"(a job of a dead owner is free when its lease has ended: {lease_s:g} s here)",
                ),
            ]
        )
        return fault

    async def _return(self, fault: int) -> None:
        title("b is started again")
        began_s = monotonic()
        await self._stage.start_instance(EDGE)
        await self._stage.all_know_all([EDGE])
        self._stage.healed(fault)
        facts([("back", f"it knows the nodes of a again after {monotonic() - began_s:.1f} s")])
        came = self._stage.traveller("s-return", EDGE)
        result = await came.ask("after")
        facts([("job", f"asked at b, run on {result.node_id} at a")])

    def show_end(self, judgement: Judgement) -> bool:
        """Show what all this came to; was everything kept?"""
        title("what came of it")
        lost = len(self._stage.open_jobs)
        rows = [
            [verdict.promise, verdict.about, verdict.state.value, str(verdict.judged)]
            for verdict in judgement.verdicts
            if verdict.state is not State.NOT_JUDGED
        ]
        show(table(["id", "promise", "", "judged"], rows, numbers=["judged"]))
        for verdict in judgement.verdicts:
            for _, words in verdict.words:
                out.print(Text(f"BROKEN  {verdict.promise}: {words}", style="bold red"))
        is_kept = judgement.is_kept and not lost
        took_s = monotonic() - self._began_s
        words = "nothing was lost" if is_kept else f"NOT ALL IS WELL, {lost} lost"
        ended = self._stage.ended_count
        out.print()
        words = f"{ended + lost} jobs asked for, {ended} came back, in {took_s:.0f} s: {words}"
        out.print(Text(words, style="bold" if is_kept else "bold red"))
        return is_kept


async def play(program: str) -> bool:
    """Run the demo; was nothing lost?"""
    title("Pointsman on two instances: one is killed, and its jobs come back")
    say("  ... starting Redis, two instances and two nodes")
    plan = Plan(
        program=program,
        homes=(HOME, HOME),
        slots=4,
        starts_at=(EDGE,),
        job_s=JOB_S,
        durability="redis",
    )
    async with fleet(plan) as stage:
        story = Play(stage)
        judgement = await story.tell()
        is_kept = story.show_end(judgement)
        say("  ... ending the instances")
    return is_kept


def main() -> int:
    """Run it; 0 when nothing was lost, 1 when something was, 2 without a Redis."""
    program = redis_program()
    if program is None:
        print(NONE_FOUND, file=sys.stderr)
        return 2
    try:
        return 0 if asyncio.run(play(program)) else 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("", "stopped; nothing is left running")
        return 130


if __name__ == "__main__":
    sys.exit(main())
