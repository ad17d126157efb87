"""Two instances, each in a network of its own: its link to Redis is cut, and the other works on."""

from random import Random

import pytest
from cluster.cuts import join_again, lose_answers
from cluster.fleet import Fleet, Plan, fleet
from cluster.troubles import DEPENDENCY, meet, named
from cluster.views import misses_redis, shows_as, shows_ready
from faults.namespaces import why_not
from redis_yard.programs import needed, redis_program

REASON = why_not()
pytestmark = [pytest.mark.faults, pytest.mark.skipif(bool(REASON), reason=REASON)]


async def test_a_cut_from_redis_makes_two_fleets_and_none_of_them_loses_a_job() -> None:
    """R1, R3, R7, I1 to I4, I10, I11: Redis comes back empty, and is told everything; then it does
    not hear one instance's acknowledgements, nor that one its answers, until presences lapse; at
    last an instance is stopped, and says so: nobody has to wait for its presence to lapse."""
    plan = Plan(program=needed(redis_program()), homes=(0, 1), redis_options=(), is_apart=True)
    async with fleet(plan) as stage:
        stage.set_out()
        await stage.ends_more(4)
        await meet(stage, named("kill_redis"), Random("empty"))
        await stage.all_know_all()
        await one_is_deaf(stage)
        assert {code for t in stage.travellers for code in t.refused} <= {DEPENDENCY}
        await one_has_gone(stage)
        await stage.rest()
        judgement = stage.judged()
    assert judgement.is_kept, judgement.verdicts


async def one_is_deaf(stage: Fleet) -> None:
    """Each goes on with what it has; who hears nothing refuses what is new."""
    fault = stage.fault("lose-answers", "b")
    back = stage.networks[1].back
    lose_answers(back)
    here, there = stage.instances
    await misses_redis(there)
    await stage.goes_on_without(1)
    await shows_as(here, there, "gone")
    await shows_ready(here, {"node-0"})
    await shows_ready(there, {"node-1"})
    assert any(t.refused.get(DEPENDENCY) for t in stage.travellers)
    join_again(back)
    await stage.all_know_all()
    await stage.come_back(stage.open_jobs)
    stage.healed(fault)


async def one_has_gone(stage: Fleet) -> None:
    """It leaves with its last word in Redis, and its name is free."""
    here, there = stage.instances
    key = f"pointsman:{{fleet}}:instance:{here.instance}"
    assert stage.redis.command("HEXISTS", key, "uid") == 1
    fault = await stage.end_in_order(0)
    assert stage.redis.command("HEXISTS", key, "uid") == 0
    await shows_as(there, here, "gone")
    words = f"instance {here.instance} has stopped"
    await stage.becomes(lambda: any(words in line for line in there.lines), words)
    stage.healed(fault)
