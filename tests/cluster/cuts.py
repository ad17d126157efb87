"""What may befall the networks of a fleet whose instances are apart: packets vanish on real links.

Nobody is told of a cut: connections stand, and both kernels send again and again until it is over,
or until one side gives up.  While one instance is cut off the others work on.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random

from cluster.fleet import Fleet
from cluster.troubles import LONG_S, SHORT_S, Trouble
from cluster.views import misses_redis
from faults.namespaces import Link

# Far less than a busy instance says: packets wait in line for longer than Redis' time limit.
NARROW_KILOBITS = 16
Harm = Callable[[Link], None]


def lose_both(link: Link) -> None:
    """Nothing passes."""
    link.lose()


def lose_questions(link: Link) -> None:
    """Redis hears nothing; whatever it says still arrives."""
    link.lose(inwards=False)


def lose_answers(link: Link) -> None:
    """Redis hears everything and does it; none of its answers arrives."""
    link.lose(outwards=False)


def unplug(link: Link) -> None:
    """The adapter is gone."""
    link.take_down()


def join_again(link: Link) -> None:
    """Everything passes as before."""
    link.bring_up()
    link.heal()


async def lose_redis(fleet: Fleet, dice: Random, *, harm: Harm, seconds: float) -> None:
    """One instance does not reach Redis, in one direction or in both; the others go on."""
    number = dice.randrange(len(fleet.instances))
    fault = fleet.fault("lose-redis", fleet.instances[number].nickname)
    back = fleet.networks[number].back
    harm(back)
    try:
        await misses_redis(fleet.instances[number])
        await fleet.goes_on_without(number)
        await asyncio.sleep(seconds)
    finally:
        join_again(back)
    await fleet.all_know_all()
    fleet.healed(fault)


async def narrow_redis(fleet: Fleet, dice: Random) -> None:
    """All answers of Redis to one instance have to pass a narrow link, and come too late."""
    number = dice.randrange(len(fleet.instances))
    fault = fleet.fault("narrow-redis", fleet.instances[number].nickname)
    back = fleet.networks[number].back
    back.slow(NARROW_KILOBITS)
    try:
        await fleet.goes_on_without(number)
        await asyncio.sleep(SHORT_S)
    finally:
        back.heal()
    fleet.healed(fault)


async def lose_front(fleet: Fleet, dice: Random) -> None:
    """One instance loses its nodes and clients, which the others reach through it; not Redis."""
    number = dice.randrange(len(fleet.instances))
    fault = fleet.fault("lose-front", fleet.instances[number].nickname)
    front = fleet.networks[number].front
    front.lose()
    try:
        await fleet.goes_on_without(number)
        await asyncio.sleep(LONG_S)
    finally:
        front.heal()
    await fleet.all_know_all()
    fleet.healed(fault)


CUTS = (
    *(
        Trouble(name=name, ids=ids, act=partial(lose_redis, harm=harm, seconds=SHORT_S))
        for name, ids, harm in (
            ("lose_redis", ("R7",), lose_both),
            ("lose_questions", ("R7",), lose_questions),
            ("lose_answers_on_the_way", ("R7", "R2"), lose_answers),
            ("unplug_redis", ("R7",), unplug),
        )
    ),
    Trouble(
        name="lose_redis_long",
        ids=("R7", "T26"),
        act=partial(lose_redis, harm=lose_both, seconds=LONG_S),
        is_long=True,
    ),
    Trouble(
        name="lose_answers_long",
        ids=("R7", "R2", "T26"),
        act=partial(lose_redis, harm=lose_answers, seconds=LONG_S),
        is_long=True,
    ),
    Trouble(name="narrow_redis", ids=("R6",), act=narrow_redis),
    Trouble(name="lose_front", ids=("N1",), act=lose_front, is_long=True),
)
