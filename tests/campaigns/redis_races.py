"""Two members that bind the same requests at once (R8), while scripts are flushed (R4), counted.

    PYTHONPATH=tests python -m campaigns.redis_races --minutes 5 --ledger ledger.jsonl

Each race is one request, bound by both in the same instant over connections of their own.  It is
bad when not exactly one wins, or when the two are told of different jobs.  Before every fourth
round the server forgets all scripts; a call that is not answered because of that is bad for R4.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from coordination.asking import ALICE, BOB, AskedRedis, bind, opened, settings_for
from redis_yard.programs import NONE_FOUND, redis_program
from redis_yard.rights import acl_line
from redis_yard.server import RedisServer, running

from pointsman_sim.campaign_ledger import Tally, append
from pointsman_wire.coordination.backing import RedisBacking
from pointsman_wire.coordination.keys import BUCKET_COUNT
from pointsman_wire.coordination.requests import Answer, Bound, Release, RequestKey

RACES_PER_ROUND = 64
FLUSH_EVERY = 4


class Races:
    """Runs rounds and counts."""

    def __init__(self, alice: AskedRedis, bob: AskedRedis) -> None:
        self._alice = alice
        self._bob = bob
        self.rounds = 0
        self.bad = 0
        self.flushes = 0
        self.lost = 0  # races that a flush cost an answer

    async def round(self) -> None:
        """Race for fresh requests, then free them."""
        keys = [RequestKey("a", f"s-{self.rounds}", f"r-{n}") for n in range(RACES_PER_ROUND)]
        flushed = self.rounds % FLUSH_EVERY == 0
        if flushed:
            self._alice.server.command("SCRIPT", "FLUSH")
            self.flushes += 1
        mine, theirs = await asyncio.gather(
            self._alice.ask(*(bind(ALICE, key=key) for key in keys)),
            self._bob.ask(*(bind(BOB, key=key) for key in keys)),
        )
        for one, other in zip(mine, theirs, strict=True):
            self._judge(one, other)
        for owner, asked in ((ALICE, self._alice), (BOB, self._bob)):
            await asked.ask(*(Release(number=1, key=k, owner=owner, fence=1) for k in keys))
        self.rounds += 1

    def _judge(self, one: Answer, other: Answer) -> None:
        assert isinstance(one, Bound)
        assert isinstance(other, Bound)
        if "" in (one.job_id, other.job_id):
            self.lost += 1
        elif {one.outcome, other.outcome} != {"won", "follows"} or one.job_id != other.job_id:
            self.bad += 1


async def run(server: RedisServer, minutes: float) -> Races:
    """Race for so long."""
    backings = [RedisBacking(settings_for(server)) for _ in range(2)]
    try:
        for backing in backings:
            await backing.open()
        alice, bob = (AskedRedis(server, backing) for backing in backings)
        for bucket in range(BUCKET_COUNT):
            await opened(alice, bucket, ALICE, BOB)
        races = Races(alice, bob)
        until_s = time.monotonic() + minutes * 60
        while time.monotonic() < until_s:
            await races.round()
        return races
    finally:
        for backing in backings:
            await backing.close()


def main() -> int:
    """Run, tell, write the ledger; 1 when anything was bad."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--ledger", type=Path)
    options = parser.parse_args()
    program = redis_program()
    if program is None:
        print(NONE_FOUND, file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        running(program, Path(folder), [acl_line()]) as server,
    ):
        races = asyncio.run(run(server, options.minutes))
    count = races.rounds * RACES_PER_ROUND
    tallies = {"R8": Tally(count, races.bad), "R4": Tally(races.flushes, races.lost)}
    append(options.ledger, tallies, options.minutes)
    print(f"{count} races, {races.bad} bad; {races.flushes} flushes, {races.lost} answers lost")
    return 1 if races.bad or races.lost else 0


if __name__ == "__main__":
    sys.exit(main())
