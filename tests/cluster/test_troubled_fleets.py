"""Fleets of real instances over a real Redis: troubles come, and every job comes back, once."""

from random import Random

import pytest
from cluster.demo import play
from cluster.fleet import Plan, fleet
from cluster.refusals import REFUSALS
from cluster.troubles import DEPENDENCY, TROUBLES, meet, named
from redis_yard.programs import needed, redis_program

from pointsman_sim.checker.verdicts import State

pytestmark = pytest.mark.crash
TOUR = (
    "ask_everywhere",
    "flush_scripts",
    "lose_answers",
    "kill_worker",
    "slow_redis",
    "refuse_busy",
    "refuse_oom",
    "kill_redis",
    "flush_redis",
    "fail_over",
)
KINDS = (*TROUBLES, *REFUSALS)
JUDGED = ("I1", "I2", "I3", "I4", "I11")


async def test_three_instances_outlive_all_that_befalls_their_redis() -> None:
    """R1 to R6, R8, R11, N11, T22, I1 to I4, I10: scripts and answers lost, slow, busy with
    somebody's script, out of memory, killed, flushed, failed over to a replica that lags; one
    request asked everywhere at once; and P2, R10: one of six workers killed."""
    plan = Plan(
        program=needed(redis_program()),
        instances=3,
        workers=2,
        homes=(0, 1),
        travellers=6,
        starts_at=(0, 1, 2),
    )
    async with fleet(plan) as stage:
        stage.set_out()
        await stage.ends_more(6)
        for name in TOUR:
            await meet(stage, named(name, KINDS), Random(name))
        await stage.rest()
        assert {code for t in stage.travellers for code in t.refused} <= {DEPENDENCY}
        judgement = stage.judged()
    assert judgement.is_kept, judgement.verdicts
    assert {judgement.of(promise).state for promise in JUDGED} == {State.HELD}


async def test_the_demo_loses_no_job_of_an_instance_that_is_killed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """R9, P4, T15, I1, I2: sessions move to the instance of the nodes, and find their jobs."""
    assert await play(needed(redis_program()))
    assert "nothing was lost" in capsys.readouterr().out
