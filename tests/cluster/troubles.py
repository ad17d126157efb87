"""What may befall a fleet: each trouble is done while travellers work, and is healed again.

After each, every traveller gets results again; what all have recorded is judged at the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random

import msgspec
from cluster.fleet import Fleet
from faults.proxy import Weather
from redis_yard.server import RedisServer

# Longer than any lease and presence of these fleets, and than Redis' time limit and breaker.
LONG_S = 5.5
SHORT_S = 1.2
DEPENDENCY = "SCHEDULER_DEPENDENCY_DOWN"
ASKED_AT_ONCE = 8


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One kind, and the ids that it counts for."""

    name: str
    ids: tuple[str, ...]
    act: Callable[[Fleet, Random], Awaitable[None]]
    is_long: bool = False  # it takes more than a lease


async def kill_instance(fleet: Fleet, dice: Random) -> None:
    """Every process of one instance dies; it is started again."""
    number = dice.randrange(len(fleet.instances))
    jobs = fleet.open_jobs
    fault = await fleet.kill(number)
    # Others take its jobs over, or it comes back first.  Where results are not in Redis, one that
    # had ended, and was not told yet, comes with its owner alone.
    if fleet.plan.durability == "redis" and number not in fleet.plan.homes:
        await fleet.come_back(jobs)
    await fleet.start_instance(number)
    await fleet.all_know_all()
    fleet.healed(fault)


async def end_instance(fleet: Fleet, dice: Random) -> None:
    """One instance is stopped in order and says so, and comes back after a while."""
    number = dice.randrange(len(fleet.instances))
    fault = await fleet.end_in_order(number)
    await asyncio.sleep(SHORT_S * dice.random())
    await fleet.start_instance(number)
    await fleet.all_know_all()
    fleet.healed(fault)


async def kill_worker(fleet: Fleet, dice: Random) -> None:
    """One worker dies with what it has read of its inbox, and is replaced."""
    instance = dice.choice(fleet.instances)
    fault = fleet.fault("kill-worker", instance.nickname, "journal")
    await asyncio.to_thread(instance.kill_worker, dice.randrange(fleet.plan.workers))
    fleet.healed(fault)


async def stop_instance(fleet: Fleet, dice: Random) -> None:
    """One instance stands still for longer than its leases last, then goes on."""
    instance = dice.choice(fleet.instances)
    fault = fleet.fault("stop-instance", instance.nickname, "journal")
    instance.stop_whole()
    await asyncio.sleep(LONG_S)
    instance.go_on()
    fleet.healed(fault)


async def kill_redis(fleet: Fleet, dice: Random) -> None:
    """Redis dies and is started again, with its append-only file."""
    fault = fleet.fault("kill-redis", "redis")
    fleet.redis.kill()
    await asyncio.sleep(SHORT_S * dice.random())
    await asyncio.to_thread(fleet.redis.start)
    fleet.lead_to(fleet.redis)
    fleet.healed(fault)


async def flush_redis(fleet: Fleet, dice: Random) -> None:
    """Redis forgets everything while jobs run."""
    fault = fleet.fault("flush-redis", "redis")
    assert fleet.redis.command("FLUSHALL") == b"OK"
    fleet.healed(fault)


async def flush_scripts(fleet: Fleet, dice: Random) -> None:
    """Redis forgets its scripts, every 100 ms for a while."""
    fault = fleet.fault("flush-scripts", "redis")
    for _ in range(5):
        assert fleet.redis.command("SCRIPT", "FLUSH") == b"OK"
        await asyncio.sleep(0.1)
    fleet.healed(fault)


async def pause_redis(fleet: Fleet, dice: Random) -> None:
    """Redis answers nobody for a while, then all at once."""
    fault = fleet.fault("pause-redis", "redis")
    assert fleet.redis.command("CLIENT", "PAUSE", int(SHORT_S * 1000), "ALL") == b"OK"
    await asyncio.sleep(SHORT_S)
    fleet.healed(fault)


async def slow_redis(fleet: Fleet, dice: Random) -> None:
    """Each answer takes 50 ms, or longer than the time limit."""
    fault = fleet.fault("slow-redis", "redis")
    latency_s = dice.choice((0.05, 0.1, 0.4))
    for way in fleet.ways:
        way.down.weather = Weather(latency_s=latency_s)
    await asyncio.sleep(SHORT_S)
    for way in fleet.ways:
        way.heal()
    fleet.healed(fault)


async def lose_answers(fleet: Fleet, dice: Random) -> None:
    """What one instance asks is done, and it never hears of it: its connections break."""
    way = dice.choice(fleet.ways)
    fault = fleet.fault("lose-answers", "redis")
    for _ in range(3):
        way.down.block()
        await asyncio.sleep(0.1)
        way.cut()
        way.heal()
        await asyncio.sleep(0.1)
    fleet.healed(fault)


async def cut_off(fleet: Fleet, dice: Random) -> None:
    """One instance does not reach Redis for a while; the others do."""
    await _cut_off(fleet, dice, SHORT_S)


async def cut_off_long(fleet: Fleet, dice: Random) -> None:
    """The same, for longer than leases and presences last."""
    await _cut_off(fleet, dice, LONG_S)


async def _cut_off(fleet: Fleet, dice: Random, seconds: float) -> None:
    number = dice.randrange(len(fleet.ways))
    fault = fleet.fault("cut-off", fleet.instances[number].nickname)
    fleet.ways[number].partition()
    await asyncio.sleep(seconds)
    fleet.ways[number].cut()
    fleet.ways[number].heal()
    fleet.healed(fault)


async def fail_over(fleet: Fleet, dice: Random) -> None:
    """A replica that heard nothing of the last moments becomes the primary."""
    fault = fleet.fault("fail-over", "redis")
    await asyncio.to_thread(fleet.start_replica)
    assert fleet.replica is not None
    assert fleet.replica.command("REPLICAOF", "NO", "ONE") == b"OK"
    await asyncio.sleep(SHORT_S * dice.random())  # this is what it will not know of
    former: RedisServer = fleet.redis
    former.kill()
    fleet.redis, fleet.replica = fleet.replica, None
    fleet.redis.options = [*fleet.redis_options]  # when started again it follows nobody
    fleet.lead_to(fleet.redis)
    fleet.healed(fault)


async def let_time_pass(fleet: Fleet, dice: Random) -> None:
    """Redis' clock jumps: leases and lives end early."""
    fault = fleet.fault("clock-of-redis", "redis")
    fleet.redis.pass_time(dice.choice((5_000, 60_000)))
    fleet.healed(fault)


async def ask_everywhere(fleet: Fleet, dice: Random) -> None:
    """The same request at all instances at once, several times; one job comes of it."""
    request = f"everywhere-{dice.getrandbits(48):x}"
    session = f"s-{request}"
    numbers = range(len(fleet.instances))
    visitors = [fleet.traveller(session, number) for number in numbers]
    asked = [visitor.ask(request) for visitor in visitors for _ in range(ASKED_AT_ONCE)]
    results = await asyncio.gather(*asked)
    assert len({result.job_id for result in results}) == 1, results
    other = await visitors[0].code_of_other(request)
    assert other == "CONFLICT", f"another body under the same id: {other or 'accepted'}"


TROUBLES = (
    Trouble(name="ask_everywhere", ids=("N11", "R8"), act=ask_everywhere),
    Trouble(name="flush_scripts", ids=("R4",), act=flush_scripts),
    Trouble(name="flush_redis", ids=("R3",), act=flush_redis),
    Trouble(name="pause_redis", ids=("R6",), act=pause_redis),
    Trouble(name="slow_redis", ids=("R6", "T22"), act=slow_redis),
    Trouble(name="lose_answers", ids=("R2",), act=lose_answers),
    Trouble(name="cut_off", ids=("R7",), act=cut_off),
    Trouble(name="kill_worker", ids=("R10", "P2"), act=kill_worker),
    Trouble(name="kill_redis", ids=("R1", "T22"), act=kill_redis),
    Trouble(name="let_time_pass", ids=("R12", "T26"), act=let_time_pass),
    Trouble(name="fail_over", ids=("R5",), act=fail_over),
    Trouble(name="kill_instance", ids=("R9", "P4"), act=kill_instance),
    Trouble(name="end_instance", ids=("P4",), act=end_instance),
    Trouble(name="cut_off_long", ids=("R7", "T26"), act=cut_off_long, is_long=True),
    Trouble(name="stop_instance", ids=("P6", "T26"), act=stop_instance, is_long=True),
)


def named(name: str, among: Sequence[Trouble] = TROUBLES) -> Trouble:
    """Return the trouble of that name."""
    return next(trouble for trouble in among if trouble.name == name)


async def meet(fleet: Fleet, trouble: Trouble, dice: Random) -> None:
    """Have it happen; then everybody gets what was open, and more."""
    await trouble.act(fleet, dice)
    await fleet.come_back(fleet.open_jobs)
    await fleet.ends_more(2 * len(fleet.travellers))


def kept_at(folder: Path, fleet: Fleet) -> None:
    """Keep what was recorded, for whoever looks for the cause."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in fleet.directory.glob("*.jsonl"):
        (folder / path.name).write_bytes(path.read_bytes())
